"""What a model thinks before it answers: how its family marks it, and how it is asked for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from engine.text.tools.lark import Lark
from engine.text.tools.reader import Parse, Reader


@dataclass(frozen=True, slots=True)
class ThinkTags:
    """What stands round thoughts, which come first if they come. White space within is layout.

    mark: what of the opening may be a special token; by default all of it.
    """

    opening: str
    closing: str
    mark: str = ""

    @property
    def markers(self) -> tuple[str, ...]:
        return self.mark or self.opening, self.closing

    def parse(self, reader: Reader, *, is_open: bool) -> Parse[None]:
        """Reads thoughts, if any come. is_open: the prompt has opened them.

        Thoughts that are never closed are thoughts to the end.
        """
        if not is_open and not (yield from reader.attempt(self._opening(reader))):
            return
        yield from reader.space()
        yield from reader.scan(reader.think, f"\n{self.closing}", self.closing)
        yield from reader.space()

    def _opening(self, reader: Reader) -> Parse[None]:
        yield from reader.space()
        yield from reader.expect(self.opening)

    def is_open_after(self, prompt: str) -> bool:
        return prompt.rstrip().endswith(self.opening.rstrip())

    def grammar(self, lark: Lark, *, is_open: bool) -> str:
        """Thoughts before what a grammar asks for; none is possible unless the prompt opened them."""
        # where any white space was allowed, small models would write it for ever
        thoughts = lark.rule("thoughts", f"{lark.until(self.closing)} /[ \\n]{{0,4}}/")
        mark = self.mark or self.opening
        opening = f"{lark.mark(mark)} {lark.text(self.opening.removeprefix(mark))}"
        return thoughts if is_open else f"({opening} {thoughts})?"


_BY_TEMPLATE = (
    ThinkTags("[THINK]", "[/THINK]"),
    ThinkTags("<seed:think>", "</seed:think>"),
    ThinkTags("<mm:think>", "</mm:think>"),
    ThinkTags("<|START_THINKING|>", "<|END_THINKING|>"),
    ThinkTags("<|channel>thought", "<channel|>", mark="<|channel>"),
    ThinkTags("Here is my thought process:", "Here is my response:"),
    ThinkTags("<think>", "</think>"),
)
_EFFORTS_OF_THREE = {"minimal": "low", "xhigh": "high", "max": "high"}


@lru_cache(maxsize=64)
def detect_thinking(template: str) -> ThinkTags | None:
    """The tags that a chat template writes thoughts in, None if it writes none."""
    return next((tags for tags in _BY_TEMPLATE if tags.closing in template), None)


def template_kwargs(template: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What is asked for under the names that the template has for it.

    Qwen and GLM call the switch `enable_thinking`, DeepSeek, Granite and Kimi `thinking`; Harmony
    knows three efforts.
    """
    kwargs = dict(asked)
    for name, other in (("enable_thinking", "thinking"), ("thinking", "enable_thinking")):
        if name in asked and other not in asked and name not in template:
            kwargs[other] = asked[name]
    effort = kwargs.get("reasoning_effort")
    if "<|channel|>" in template and effort in _EFFORTS_OF_THREE:
        kwargs["reasoning_effort"] = _EFFORTS_OF_THREE[effort]
    return kwargs
