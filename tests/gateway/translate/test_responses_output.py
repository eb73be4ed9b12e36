"""Whatever a model says, its events tell one story."""

import re
from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.api import Delta, ToolCallDelta
from gateway.openai import responses_events as events
from gateway.openai.responses_reply import FunctionCallItem, Item, MessageItem
from gateway.translate.responses_items import Numbering, OpenReasoning, OpenSummary
from gateway.translate.responses_output import Output

LETTERS = {
    events.ItemAdded: "<",
    events.ItemDone: ">",
    events.PartAdded: "(",
    events.PartDone: ")",
    events.TextDelta: "t",
    events.TextDone: "T",
    events.ReasoningDelta: "r",
    events.ReasoningDone: "R",
    events.SummaryPartAdded: "[",
    events.SummaryPartDone: "]",
    events.SummaryDelta: "s",
    events.SummaryDone: "S",
    events.ArgumentsDelta: "a",
    events.ArgumentsDone: "A",
}
STORY = re.compile(r"(<\(t*T\)>|<\(r+R\)>|<\[s+S\]>|<a*A>)+")

texts = st.sampled_from(["", "a", "\n", "é"])
steps = st.lists(
    st.tuples(texts, texts, st.sampled_from([None, "begin", "go on"]), st.sampled_from(["", "{}"]))
)


def deltas_of(steps: list[tuple[str, str, str | None, str]]) -> Iterator[Delta]:
    """Calls begin once, and go on only in a row."""
    index, is_calling = -1, False
    for reasoning, text, call, arguments in steps:
        is_calling = is_calling and not (text or reasoning)
        calls = []
        if call == "begin" or (call and not is_calling):
            index, is_calling = index + 1, True
            calls = [ToolCallDelta(index, f"call_{index}", "look", arguments)]
        elif call:
            calls = [ToolCallDelta(index, arguments=arguments)]
        yield Delta(0, text, reasoning, calls)


def said(item: Item) -> str:
    if isinstance(item, FunctionCallItem):
        return item.arguments
    if isinstance(item, MessageItem):
        return item.content[0].text
    return [*item.summary, *item.content][0].text


@settings(max_examples=60, deadline=None)
@given(steps, st.sampled_from([OpenReasoning, OpenSummary]))
def test_items_open_and_close_one_after_the_other(steps, reasoning):
    """Each with its parts inside, its deltas adding up, its place and number in order."""
    output = Output(Numbering(), reasoning)
    made = [event for delta in deltas_of(steps) for event in output.add(delta)]
    made += output.end("completed")

    assert STORY.fullmatch("".join(LETTERS[type(event)] for event in made))
    assert [event.sequence_number for event in made] == list(range(len(made)))
    done = [event for event in made if isinstance(event, events.ItemDone)]
    assert [event.output_index for event in done] == list(range(len(done)))
    assert [event.item for event in done] == output.items
    for event in done:
        pieces = [e.delta for e in made if hasattr(e, "delta") and e.item_id == event.item.id]
        assert "".join(pieces) == said(event.item)
