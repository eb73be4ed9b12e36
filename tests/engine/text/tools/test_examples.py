import llguidance
import pytest

from engine.api import ToolChoice
from engine.text.chat_format import ChatFormat, grammar_of, read_tools
from engine.text.reasoning import ThinkTags
from engine.text.tools import formats
from engine.text.tools.formats import ToolFormat
from tests.engine.text.tools.conftest import TOOLS
from tests.engine.text.tools.examples import EXAMPLES

WRITES_ITS_OWN_IDS = {formats.KIMI_K2}
NEEDS_A_WHOLE_ANSWER = {formats.LLAMA_JSON, formats.PYTHONIC, formats.GENERIC, formats.HARMONY}
LOOK_ALIKES = (
    "",
    " ",
    "a < b",
    "<tool",
    "[",
    "{",
    '{"name": "nobody"}',
    "[f(x)]",
    "[1] see {below}",
    "<|",
    "<tool_call> is how it begins",
    "[TOOL_CALLS] too",
)
EACH = pytest.mark.parametrize(
    ("form", "text", "calls"), EXAMPLES, ids=[example[0].name for example in EXAMPLES]
)


@EACH
def test_an_example_is_read(read, form: ToolFormat, text, calls):
    """Calls as the family's template writes them, and nothing else."""
    answer = read(form, text)

    assert [(name, arguments) for name, _, arguments in answer.calls] == calls
    assert (answer.said, answer.thought) == ("", "")
    assert all((id_ is not None) == (form in WRITES_ITS_OWN_IDS) for _, id_, _ in answer.calls)


@EACH
def test_pieces_do_not_matter(read, form: ToolFormat, text, calls):
    """However the text is cut in two, or into characters, the same is found."""
    answer = read(form, text)

    assert read(form, *text) == answer
    for place in range(len(text)):
        assert read(form, text[:place], text[place:]) == answer


@EACH
def test_its_grammar_takes_it(form: ToolFormat, text, calls):
    """What is enforced is what is read: one object writes the grammar and reads the text."""
    chat = ChatFormat(form, ThinkTags("<think>", "</think>"), tools=read_tools(TOOLS))
    if form is formats.HARMONY:
        chat = ChatFormat(form, tools=read_tools(TOOLS))
    grammar = grammar_of(chat, ToolChoice("required"), lambda _: None)
    tokenizer = llguidance.LLTokenizer("byte")
    matcher = llguidance.LLMatcher(tokenizer, grammar)

    num_taken = matcher.try_consume_tokens(tokenizer.tokenize_str(text))

    assert (matcher.get_error(), text.encode()[num_taken:]) == ("", b"")
    assert matcher.is_accepting()


@EACH
def test_half_of_a_further_call_is_not_said(read, form: ToolFormat, text, calls):
    """Where calls must be made there are no words, so a client never sees what `max_tokens` cut."""
    for place in range(len(text)):
        answer = read(form, text[:place], mode="required")
        assert not (answer.calls and answer.said)


@pytest.mark.parametrize("form", [e[0] for e in EXAMPLES if e[0] not in NEEDS_A_WHOLE_ANSWER])
def test_words_before_and_after_calls_are_said(read, form: ToolFormat):
    """White space between them and the calls is layout."""
    text, calls = next((text, calls) for other, text, calls in EXAMPLES if other is form)

    answer = read(form, f"Look <here>: {text}\nDone [1].")

    assert answer.said == "Look <here>: \nDone [1]."
    assert len(answer.calls) == len(calls)


@pytest.mark.parametrize("form", {example[0].name: example[0] for example in EXAMPLES}.values())
def test_what_only_looks_like_a_call_is_text(read, form: ToolFormat):
    """Not a character is eaten."""
    for text in LOOK_ALIKES:
        for pieces in ([text], list(text)):
            answer = read(form, *pieces)

            assert (answer.said, answer.calls) == (text, [])


@EACH
def test_a_call_that_is_cut_off_loses_nothing(read, form: ToolFormat, text, calls):
    """Until a call begins it is text; from then on its arguments are a beginning of themselves."""
    for end in range(len(text)):
        answer = read(form, text[:end])

        if answer.calls:
            *whole, (name, _, arguments) = answer.calls
            assert [(n, a) for n, _, a in whole] == calls[: len(whole)]
            assert name == calls[len(whole)][0]
            assert calls[len(whole)][1].startswith(arguments)
        elif form is not formats.HARMONY:
            assert answer.said == text[:end]
