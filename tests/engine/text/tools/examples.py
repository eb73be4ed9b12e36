"""Every format's example, as its family's template writes a history, and what it means."""

# ruff: noqa: ISC004, RUF001 - texts of several lines, and DeepSeek's own characters
from engine.text.tools import formats

PARIS = '{"city": "Paris", "days": 3}'
_CITY = '{"city": "Paris"}'
_CALL = '{"name": "get_weather", "arguments": {"city": "Paris", "days": 3}}'
_ONE = [("get_weather", PARIS)]
_DSML = "｜DSML｜"

EXAMPLES = [
    (formats.HERMES, f"<tool_call>\n{_CALL}\n</tool_call>", _ONE),
    (
        formats.HERMES,
        f"<tool_call>\n{_CALL}\n</tool_call>\n<tool_call>\n"
        '{"name": "get-time", "arguments": {}}\n</tool_call>',
        [*_ONE, ("get-time", "{}")],
    ),
    (
        formats.QWEN_CODER,
        "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n"
        "<parameter=days>\n3\n</parameter>\n</function>\n</tool_call>",
        _ONE,
    ),
    (
        formats.SEED_OSS,
        "<seed:tool_call>\n<function=get_weather>\n<parameter=city>Paris</parameter>\n"
        "<parameter=days>3</parameter>\n</function>\n</seed:tool_call>",
        _ONE,
    ),
    (
        formats.MINIMAX_M2,
        '<minimax:tool_call>\n<invoke name="get_weather">\n<parameter name="city">Paris'
        '</parameter>\n<parameter name="days">3</parameter>\n</invoke>\n</minimax:tool_call>',
        _ONE,
    ),
    (
        formats.DEEPSEEK_V32,
        f'<{_DSML}function_calls>\n<{_DSML}invoke name="get_weather">\n'
        f'<{_DSML}parameter name="city" string="true">Paris</{_DSML}parameter>\n'
        f'<{_DSML}parameter name="days" string="false">3</{_DSML}parameter>\n'
        f"</{_DSML}invoke>\n</{_DSML}function_calls>",
        _ONE,
    ),
    (
        formats.GLM,
        "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n"
        "<arg_key>days</arg_key>\n<arg_value>3</arg_value>\n</tool_call>",
        _ONE,
    ),
    (formats.MISTRAL_LIST, f"[TOOL_CALLS][{_CALL}]", _ONE),
    (formats.MISTRAL, f"[TOOL_CALLS]get_weather[ARGS]{PARIS}", _ONE),
    (
        formats.MISTRAL,
        f"[TOOL_CALLS]get_weather[ARGS]{PARIS}[TOOL_CALLS]get-time[ARGS]{{}}",
        [*_ONE, ("get-time", "{}")],
    ),
    (
        formats.DEEPSEEK_V3,
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n"
        f"{PARIS}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>get-time\n"
        "```json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        [*_ONE, ("get-time", "{}")],
    ),
    (
        formats.DEEPSEEK_V31,
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>"
        f"{PARIS}<｜tool▁call▁end｜><｜tool▁call▁begin｜>get-time<｜tool▁sep｜>{{}}"
        "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        [*_ONE, ("get-time", "{}")],
    ),
    (
        formats.KIMI_K2,
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0"
        f"<|tool_call_argument_begin|>{PARIS}<|tool_call_end|><|tool_calls_section_end|>",
        _ONE,
    ),
    (
        formats.HARMONY,
        "<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>" + PARIS,
        _ONE,
    ),
    (
        formats.GEMMA_4,
        '<|tool_call>call:get_weather{city:<|"|>Paris<|"|>,days:3}<tool_call|>',
        _ONE,
    ),
    (
        formats.FUNCTION_GEMMA,
        "<start_function_call>call:get_weather{city:<escape>Paris<escape>,days:3}"
        "<end_function_call>",
        _ONE,
    ),
    (
        formats.LLAMA_JSON,
        '{"name": "get_weather", "parameters": {"city": "Paris", "days": 3}}; '
        '{"name": "get-time", "parameters": {}}',
        [*_ONE, ("get-time", "{}")],
    ),
    (formats.PYTHONIC, '[get_weather(city="Paris", days=3)]', _ONE),
    (
        formats.LFM2,
        '<|tool_call_start|>[get_weather(city="Paris", days=3), get-time()]<|tool_call_end|>',
        [*_ONE, ("get-time", "{}")],
    ),
    (formats.PHI_4_MINI, f"<|tool_call|>[{_CALL}]<|/tool_call|>", _ONE),
    (formats.GRANITE, f"<|tool_call|>[{_CALL}]", _ONE),
    (formats.FUNCTOOLS, f"functools[{_CALL}]", _ONE),
    (formats.NEMOTRON, f"<TOOLCALL>[{_CALL}]</TOOLCALL>", _ONE),
    (formats.MINIMAX_M1, f"<tool_calls>\n{_CALL}\n</tool_calls>", _ONE),
    (formats.GENERIC, _CALL, _ONE),
]
