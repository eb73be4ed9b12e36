"""Every family's format of tool calls, and which of them a chat template teaches.

The formats are as the families' own templates write them in the history of a conversation. Cross-read
with the parsers of vLLM, SGLang and llama.cpp, which tell them apart by their templates as well.
"""

import secrets
import string
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

from engine.text.tools import harmony
from engine.text.tools.gemma import GemmaCalls
from engine.text.tools.glm import GlmCalls
from engine.text.tools.harmony import HarmonyCalls
from engine.text.tools.json_calls import BareJsonCalls, JsonCalls
from engine.text.tools.lark import Calls, Lark
from engine.text.tools.named_calls import NamedCalls
from engine.text.tools.pythonic import PythonicCalls
from engine.text.tools.reader import Parse, Reader
from engine.text.tools.xml_calls import XmlCalls

# ruff: noqa: RUF001 - DeepSeek's own characters
_DEEPSEEK_MARKERS = (
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁calls▁end｜>",
    "<｜tool▁call▁begin｜>",
    "<｜tool▁call▁end｜>",
    "<｜tool▁sep｜>",
)
_ALPHANUMERIC = string.ascii_letters + string.digits


class Syntax(Protocol):
    """One way to write calls, read and enforced by the same object."""

    @property
    def opening(self) -> str:
        """What a call begins with; empty where no text of its own tells it."""

    def parse(self, reader: Reader) -> Parse[None]:
        """Reads to the end of the text, reporting to the reader what is found."""

    def grammar(self, lark: Lark, calls: Calls) -> str:
        """What the calls must look like, adding the rules that it needs."""


@dataclass(frozen=True, slots=True)
class ToolFormat:
    """markers: those that may be special tokens, which a parser has to see. id_length: of ids.

    has_text_arguments: its templates want arguments as JSON text, and fail on objects.
    """

    name: str
    syntax: Syntax
    markers: tuple[str, ...] = ()
    id_prefix: str = "call_"
    id_length: int = 24
    has_text_arguments: bool = False

    @property
    def has_bare_ids(self) -> bool:
        """Whether ids are letters and digits alone, exactly `id_length`, in a history too."""
        return not self.id_prefix

    def new_id(self) -> str:
        return self.id_prefix + "".join(
            secrets.choice(_ALPHANUMERIC) for _ in range(self.id_length)
        )


def _tagged(name: str, opening: str, closing: str = "", *, is_list: bool = False) -> ToolFormat:
    layout = "" if is_list else "\n"
    syntax = JsonCalls(opening, closing, is_list=is_list, layout=layout)
    return ToolFormat(name, syntax, (opening, closing))


def _mistral(name: str, syntax: Syntax) -> ToolFormat:
    # its template refuses ids that are not nine alphanumerics
    markers = ("[TOOL_CALLS]", "[ARGS]", "[CALL_ID]")
    return ToolFormat(name, syntax, markers, id_prefix="", id_length=9)


HERMES = _tagged("hermes", "<tool_call>", "</tool_call>")
QWEN_CODER = ToolFormat(
    "qwen-coder",
    XmlCalls("<tool_call>", "</tool_call>", "<function=", "</function>", "<parameter=",
             "</parameter>", gap="\n"),
    ("<tool_call>", "</tool_call>"),
)  # fmt: skip
SEED_OSS = ToolFormat(
    "seed-oss",
    XmlCalls("<seed:tool_call>", "</seed:tool_call>", "<function=", "</function>", "<parameter=",
             "</parameter>"),
    ("<seed:tool_call>", "</seed:tool_call>"),
)  # fmt: skip
MINIMAX_M2 = ToolFormat(
    "minimax-m2",
    XmlCalls("<minimax:tool_call>", "</minimax:tool_call>", '<invoke name="', "</invoke>",
             '<parameter name="', "</parameter>", named='">'),
    ("<minimax:tool_call>", "</minimax:tool_call>"),
)  # fmt: skip
DEEPSEEK_V32 = ToolFormat(
    "deepseek-v3.2",
    XmlCalls("<｜DSML｜function_calls>", "</｜DSML｜function_calls>", '<｜DSML｜invoke name="',
             "</｜DSML｜invoke>", '<｜DSML｜parameter name="', "</｜DSML｜parameter>", named='">',
             kinds=((' string="true">', True), (' string="false">', False))),
    ("｜DSML｜",),
)  # fmt: skip
GLM = ToolFormat(
    "glm",
    GlmCalls(),
    ("<tool_call>", "</tool_call>", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"),
)
MISTRAL_LIST = _mistral("mistral-list", JsonCalls("[TOOL_CALLS]", is_list=True))
MISTRAL = _mistral(
    "mistral", NamedCalls(call="[TOOL_CALLS]", arguments="[ARGS]", id_mark="[CALL_ID]")
)
DEEPSEEK_V3 = ToolFormat(
    "deepseek-v3",
    NamedCalls(section="<｜tool▁calls▁begin｜>", section_end="<｜tool▁calls▁end｜>",
               call="<｜tool▁call▁begin｜>", kind=("function", "<｜tool▁sep｜>"),
               arguments="\n```json\n", fence_end="\n```", call_end="<｜tool▁call▁end｜>", separator="\n"),
    _DEEPSEEK_MARKERS,
    has_text_arguments=True,
)  # fmt: skip
DEEPSEEK_V31 = ToolFormat(
    "deepseek-v3.1",
    NamedCalls(section="<｜tool▁calls▁begin｜>", section_end="<｜tool▁calls▁end｜>",
               call="<｜tool▁call▁begin｜>", arguments="<｜tool▁sep｜>",
               call_end="<｜tool▁call▁end｜>"),
    _DEEPSEEK_MARKERS,
    has_text_arguments=True,
)  # fmt: skip
KIMI_K2 = ToolFormat(
    "kimi-k2",
    NamedCalls(section="<|tool_calls_section_begin|>", section_end="<|tool_calls_section_end|>",
               call="<|tool_call_begin|>", arguments="<|tool_call_argument_begin|>",
               call_end="<|tool_call_end|>", name_pattern=r"(?:functions\.)?(?P<name>[\w.-]+):\d+",
               is_name_id=True, prefix="functions.", number='":" /[0-9]+/'),
    ("<|tool_calls_section_begin|>", "<|tool_calls_section_end|>", "<|tool_call_begin|>",
     "<|tool_call_argument_begin|>", "<|tool_call_end|>"),
)  # fmt: skip
HARMONY = ToolFormat("harmony", HarmonyCalls(), harmony.MARKERS)
GEMMA_4 = ToolFormat(
    "gemma-4",
    GemmaCalls("<|tool_call>", "<tool_call|>", '<|"|>'),
    ("<|tool_call>", "<tool_call|>", '<|"|>'),
)
FUNCTION_GEMMA = ToolFormat(
    "function-gemma",
    GemmaCalls("<start_function_call>", "<end_function_call>", "<escape>"),
    ("<start_function_call>", "<end_function_call>", "<escape>"),
)
LLAMA_JSON = ToolFormat(
    "llama-json", BareJsonCalls("parameters", prefix="<|python_tag|>"), ("<|python_tag|>",)
)
PYTHONIC = ToolFormat("pythonic", PythonicCalls())
LFM2 = ToolFormat(
    "lfm2",
    PythonicCalls("<|tool_call_start|>", "<|tool_call_end|>"),
    ("<|tool_call_start|>", "<|tool_call_end|>"),
)
PHI_4_MINI = _tagged("phi-4-mini", "<|tool_call|>", "<|/tool_call|>", is_list=True)
GRANITE = _tagged("granite", "<|tool_call|>", is_list=True)
FUNCTOOLS = _tagged("functools", "functools", is_list=True)
NEMOTRON = _tagged("nemotron", "<TOOLCALL>", "</TOOLCALL>", is_list=True)
MINIMAX_M1 = _tagged("minimax-m1", "<tool_calls>", "</tool_calls>")
GENERIC = ToolFormat("generic", BareJsonCalls(separator="\n", is_read=False))
"""For templates that teach none: `{"name": ..., "arguments": {...}}`, read only where a grammar has
made the answer a call."""

_BY_TEMPLATE: tuple[tuple[tuple[str, ...], ToolFormat], ...] = (
    (("<|channel|>", "<|message|>"), HARMONY),
    (("<|tool_call>",), GEMMA_4),
    (("<start_function_call>",), FUNCTION_GEMMA),
    (("<|tool_calls_section_begin|>",), KIMI_K2),
    (("｜DSML｜",), DEEPSEEK_V32),
    (("<｜tool▁call▁begin｜>", "```json"), DEEPSEEK_V3),
    (("<｜tool▁call▁begin｜>",), DEEPSEEK_V31),
    (("<minimax:tool_call>",), MINIMAX_M2),
    (("<seed:tool_call>",), SEED_OSS),
    (("<function=", "<parameter="), QWEN_CODER),
    (("<arg_key>", "<arg_value>"), GLM),
    (("<|tool_call_start|>",), LFM2),
    (("<|/tool_call|>",), PHI_4_MINI),
    (("<|tool_call|>",), GRANITE),
    (("[TOOL_CALLS]", "[ARGS]"), MISTRAL),
    (("[TOOL_CALLS]",), MISTRAL_LIST),
    (("<TOOLCALL>",), NEMOTRON),
    (("functools[",), FUNCTOOLS),
    (("<tool_calls>",), MINIMAX_M1),
    (("<tool_call>",), HERMES),
    (("[func_name1(",), PYTHONIC),
    (("<|start_header_id|>", "ipython"), LLAMA_JSON),
    (("<|start_header_id|>", "<|python_tag|>"), LLAMA_JSON),
)


@lru_cache(maxsize=64)
def detect(template: str) -> ToolFormat:
    """The format that a chat template writes calls in; `GENERIC` if it writes none."""
    for needles, found in _BY_TEMPLATE:
        if all(needle in template for needle in needles):
            return found
    return GENERIC


def forced(form: ToolFormat) -> ToolFormat:
    """The format where a grammar has made the answer a call, and it cannot be anything else."""
    if isinstance(form.syntax, BareJsonCalls):
        return replace(form, syntax=form.syntax.forced())
    return form
