import pytest

from engine.text.reasoning import ThinkTags, detect_thinking, template_kwargs
from engine.text.tools import formats
from engine.text.tools.lark import Lark
from tests.engine.text.tools.conftest import read as read  # noqa: PLC0414 - a fixture

THINK = ThinkTags("<think>", "</think>")
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {}}\n</tool_call>'


@pytest.mark.parametrize(
    ("text", "is_open", "thought", "said"),
    [
        ("<think>\nHm.\n</think>\n\nYes.", False, "Hm.", "Yes."),
        ("Hm.\n</think>\n\nYes.", True, "Hm.", "Yes."),
        ("\n<think>\n\n</think>\n\nYes.", False, "", "Yes."),
        ("<think>Hm. <think> </b", False, "Hm. <think> </b", ""),
        ("Yes. <think>no</think>", False, "", "Yes. <think>no</think>"),
        ("<thin", False, "", "<thin"),
        (" plain", False, "", " plain"),
        ("", True, "", ""),
    ],
)
def test_thoughts_come_first_or_not_at_all(read, text, is_open, thought, said):
    """However the text is cut; white space round them is layout."""
    for place in range(len(text) + 1):
        answer = read(formats.HERMES, text[:place], text[place:], thinking=THINK, is_open=is_open)

        assert (answer.thought, answer.said) == (thought, said)


def test_calls_come_after_thoughts(read):
    """One that is only thought of is none."""
    answer = read(formats.HERMES, f"<think>{CALL}</think>{CALL}", thinking=THINK)

    assert answer.thought == CALL
    assert (answer.said, len(answer.calls)) == ("", 1)


@pytest.mark.parametrize(
    ("template", "opening"),
    [
        ("{% if think %}<think></think>{% endif %}", "<think>"),
        ("[THINK]{{ thought }}[/THINK]", "[THINK]"),
        ("Here is my thought process: ... Here is my response: ", "Here is my thought process:"),
        ("<seed:think></seed:think>", "<seed:think>"),
    ],
)
def test_a_template_tells_its_tags(template, opening):
    """As it writes them in a history."""
    tags = detect_thinking(template)

    assert tags is not None
    assert tags.opening == opening


def test_a_template_without_thoughts_has_none():
    """So that an answer about `<think>` stays as it is."""
    assert detect_thinking("{{ messages }}") is None


@pytest.mark.parametrize(
    ("prompt", "is_open"), [("…<think>\n", True), ("…<think>\n\n</think>\n\n", False), ("…", False)]
)
def test_a_prompt_may_end_within_them(prompt, is_open):
    """Qwen3-Thinking and R1 begin the thought for the model."""
    assert THINK.is_open_after(prompt) is is_open


def test_switches_go_by_the_templates_names():
    """One field of ours reaches every family that has such a switch."""
    off = {"enable_thinking": False}

    assert template_kwargs("{{ enable_thinking }}", off) == off
    assert template_kwargs("{{ thinking }}", off)["thinking"] is False
    assert template_kwargs("{{ thinking }}", {"thinking": True, **off})["thinking"] is True
    effort = template_kwargs("<|channel|>", {"reasoning_effort": "xhigh"})
    assert effort == {"reasoning_effort": "high"}


def test_a_token_may_be_the_first_part_of_an_opening():
    """Gemma 4's channel is a token, and its name is text."""
    tags = detect_thinking("<|channel>thought\n<channel|>")
    ids = {"<|channel>": 7, "<channel|>": 8}

    assert tags is not None
    assert tags.markers == ("<|channel>", "<channel|>")
    assert '<[7]> "thought"' in tags.grammar(Lark(ids.get), is_open=False)
