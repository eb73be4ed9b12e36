"""How one model writes thoughts and calls, and the parser of one of its answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from engine.api import ToolChoice
from engine.text.reasoning import ThinkTags, detect_thinking
from engine.text.tools.events import Event, Span
from engine.text.tools.formats import GENERIC, HARMONY, ToolFormat, detect, forced
from engine.text.tools.harmony import HarmonyCalls
from engine.text.tools.lark import ANY_OBJECT, Calls, Lark, Tool
from engine.text.tools.reader import Parse, Reader


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """How one model writes what a prompt asks for.

    calls: its format of tool calls. thinking: None if it marks no thoughts. is_open: the prompt ends
    within them. tools: those that the prompt offers.
    """

    calls: ToolFormat
    thinking: ThinkTags | None = None
    is_open: bool = False
    tools: tuple[Tool, ...] = ()

    def demands(self, choice: ToolChoice) -> bool:
        """Whether calls are written under a grammar: some must be made, or must follow a schema.

        A schema of tools that need not be called holds where a call has an opening to know it by.
        """
        is_strict = any(tool.is_strict for tool in self.tools)
        return choice.mode == "required" or (is_strict and bool(self.calls.syntax.opening))

    def preface(self, lark: Lark) -> str:
        """The grammar of what comes before the words of an answer: thoughts, above all."""
        if isinstance(self.calls.syntax, HarmonyCalls):
            return self.calls.syntax.preface(lark)
        return self.thinking.grammar(lark, is_open=self.is_open) if self.thinking else ""

    @property
    def markers(self) -> tuple[str, ...]:
        """Texts of the tokens that a parser of the answer has to see."""
        return self.calls.markers + (self.thinking.markers if self.thinking else ())


def thinks(template: str) -> bool:
    """Whether a template's model marks its thoughts."""
    return detect(template) is HARMONY or detect_thinking(template) is not None


def find_format(
    template: str, prompt: str, tools: Sequence[Mapping[str, Any]] | None = None
) -> ChatFormat:
    """The format that a template teaches. prompt: what it has rendered. tools: the prompt's."""
    calls = detect(template)
    thinking = None if calls is HARMONY else detect_thinking(template)
    is_open = thinking is not None and thinking.is_open_after(prompt)
    return ChatFormat(calls, thinking, is_open, read_tools(tools or []))


def grammar_of(
    form: ChatFormat, choice: ToolChoice, token_id: Callable[[str], int | None]
) -> str | None:
    """The Lark grammar of an answer that calls tools as the choice demands, thoughts before it free.

    None where `ChatFormat.demands` nothing. token_id: the id of a special token by its text.
    """
    if not form.demands(choice):
        return None
    if choice.mode == "required":
        return _required_grammar(form, choice, Lark(token_id))
    return _strict_grammar(form, choice, Lark(token_id, form.calls.syntax.opening))


def calls_or(form: ChatFormat, choice: ToolChoice, lark: Lark, answer: str) -> str:
    """The rule of a reply that calls tools or is an answer, thoughts before either free.

    answer: the rule of one. A format that is only read where calls are forced leaves the answer.
    """
    if form.calls is GENERIC:
        return f"{form.preface(lark)} {answer}"
    calls = _calls(form, choice, lark)
    if isinstance(form.calls.syntax, HarmonyCalls):  # whose calls have thoughts of their own
        return f"({calls}) | ({form.preface(lark)} {answer})"
    return f"{_thoughts(form, lark)} (({calls}) | {answer})"


def _required_grammar(form: ChatFormat, choice: ToolChoice, lark: Lark) -> str:
    return lark.text_of(f"{_thoughts(form, lark)} ({_calls(form, choice, lark)})")


def _calls(form: ChatFormat, choice: ToolChoice, lark: Lark) -> str:
    chosen = [tool for tool in form.tools if not choice.names or tool.name in choice.names]
    return form.calls.syntax.grammar(lark, Calls(tuple(chosen), choice.is_parallel))


def _strict_grammar(form: ChatFormat, choice: ToolChoice, lark: Lark) -> str:
    """Calls, if any come, with any text before and after them."""
    one = form.calls.syntax.grammar(lark, Calls(form.tools, is_parallel=False))
    rest = lark.without(form.calls.syntax.opening)
    return lark.text_of(
        f"{_thoughts(form, lark)} ({one}){'*' if choice.is_parallel else '?'} {rest}"
    )


def _thoughts(form: ChatFormat, lark: Lark) -> str:
    return form.thinking.grammar(lark, is_open=form.is_open) if form.thinking else ""


def read_tools(tools: Sequence[Mapping[str, Any]]) -> tuple[Tool, ...]:
    """Names and schemas of a chat prompt's tools."""
    return tuple(_read_tool(tool["function"]) for tool in tools)


def _read_tool(function: Mapping[str, Any]) -> Tool:
    schema = function.get("parameters") or ANY_OBJECT
    is_strict = function.get("strict") is True
    # what is not known of a schema is passed over, unless somebody counts on it
    guided = {**schema, "x-guidance": {"lenient": False}} if is_strict else schema
    return Tool(function["name"], guided, is_strict)


class ChatParser:
    """Splits one answer, as it comes, into words, thoughts and calls.

    choice: None leaves calls in the text. splits_thought: as `Generation.splits_reasoning`.
    """

    def __init__(
        self, form: ChatFormat, choice: ToolChoice | None, *, splits_thought: bool
    ) -> None:
        is_forced = choice is not None and choice.mode == "required"
        self._form = replace(form, calls=forced(form.calls)) if is_forced else form
        self._reads_calls = choice is not None
        schemas = {tool.name: tool.schema for tool in form.tools}
        self._reader = Reader(
            schemas if choice else {}, splits_thought=splits_thought, ends_in_calls=is_forced
        )
        self._parse = self._run()
        self._is_done = False

    def feed(self, text: str) -> list[Event]:
        """What is certain once this text has come too."""
        self._reader.append(text)
        return self._advance()

    def finish(self) -> list[Event]:
        """What the rest is, now that no more comes."""
        self._reader.is_ended = True
        return self._advance()

    @property
    def num_settled(self) -> int:
        """How many characters of the text the events so far stand for."""
        return self._reader.num_settled

    @property
    def spans(self) -> Sequence[Span]:
        """Where words and thoughts stand in the text, in order."""
        return self._reader.spans

    def _advance(self) -> list[Event]:
        if not self._is_done:
            self._is_done = next(self._parse, True) is True
        events, self._reader.events = self._reader.events, []
        return events

    def _run(self) -> Parse[None]:
        reader = self._reader
        is_harmony = self._form.calls is HARMONY
        if self._form.thinking is not None and reader.splits_thought:
            yield from self._form.thinking.parse(reader, is_open=self._form.is_open)
        if self._reads_calls or is_harmony:
            yield from self._form.calls.syntax.parse(reader)
        yield from reader.scan(reader.say)
        reader.end()
