from collections.abc import Iterator

import pytest

from engine.api import ChatPrompt, EngineError, TextPrompt, TextSource, TokenPrompt
from engine.checkpoint import open_checkpoint
from engine.text import prompts
from engine.text.library import Library
from engine.text.prompts import PreparedPrompt, PromptReader
from engine.text.template import Renderer

VOCAB_SIZE = 368
USER = {"role": "user", "content": "hello"}


@pytest.fixture(scope="module")
def reader(tmp_path_factory) -> Iterator[PromptReader]:
    renderer = Renderer()
    yield PromptReader(Library(tmp_path_factory.mktemp("cache")), renderer)
    renderer.close()


@pytest.fixture
def source(family_folder):
    def make(family: str = "llama-bf16", template: str | None = None) -> TextSource:
        path = next(iter(sorted(family_folder(family).glob("*.gguf"))))
        return TextSource(str(path), open_checkpoint(path).digest, VOCAB_SIZE, template)

    return make


async def test_text_gets_the_bos_and_its_control_tokens(reader, source, byte_level):
    """A raw prompt may spell control tokens, as users of raw prompts do."""
    text = f"hello{byte_level.eos_token}"

    prepared = await reader.prepare(source(), TextPrompt(text))

    hello = byte_level.encode("hello", add_bos=False, allow_special=False)
    [eos] = byte_level.encode(byte_level.eos_token, add_bos=False, allow_special=True)
    assert prepared.token_ids == [byte_level.bos_id, *hello, eos]
    assert prepared.echo == text


async def test_a_text_is_cut_before_its_end_mark(reader, source, byte_level, monkeypatch):
    """At most so many tokens, the BOS and what the model wants at the end among them."""
    monkeypatch.setattr(type(byte_level), "suffix_ids", (7,))
    whole = await reader.prepare(source(), TextPrompt("hello there"))
    cut = await reader.prepare(source(), TextPrompt("hello there", max_tokens=3))

    assert cut.token_ids == [*whole.token_ids[:2], 7]


async def test_ids_are_used_as_they_are(reader, source):
    """No BOS, no changes."""
    prepared = await reader.prepare(source(), TokenPrompt([5, 0, VOCAB_SIZE - 1]))

    assert prepared.token_ids == [5, 0, VOCAB_SIZE - 1]


async def test_a_text_alone(reader, source, byte_level):
    """Without a BOS, and with control tokens left text, where that is asked for."""
    text = f"hello{byte_level.eos_token}"
    prompt = TextPrompt(text, adds_bos=False, spells_control=False)

    prepared = await reader.prepare(source(), prompt)

    assert prepared.token_ids == byte_level.encode(text, add_bos=False, allow_special=False)


async def test_a_prompt_is_spelt(reader, source, byte_level):
    """As it was rendered; ids as the bytes of their tokens, control tokens by their names."""
    text = f"hé{byte_level.eos_token}"
    rendered = await reader.prepare(source(), TextPrompt(text, adds_bos=False))
    ids = await reader.prepare(source(), TokenPrompt(rendered.token_ids))

    assert rendered.spelling == ids.spelling
    assert rendered.spelling.text == text
    assert b"".join(rendered.spelling.pieces) == text.encode()
    assert len(rendered.spelling.pieces) == len(rendered.token_ids)


async def test_a_template_writes_its_own_bos(reader, source, byte_level):
    """What the template renders is encoded as it stands: one BOS if it wrote one, else none."""
    chat = ChatPrompt([USER])

    with_bos = await reader.prepare(
        source(template="{{ bos_token }}{{ messages[0].content }}"), chat
    )
    without = await reader.prepare(source(template="{{ messages[0].content }}"), chat)

    assert with_bos.token_ids == [byte_level.bos_id, *without.token_ids]
    assert byte_level.bos_id not in without.token_ids


async def test_a_checkpoints_own_template_is_used(reader, source, spaced):
    """Without a configured template, the file's."""
    prepared = await reader.prepare(source("llama-plain"), ChatPrompt([USER]))

    assert prepared.token_ids == spaced.encode(
        "<s>[INST] hello [/INST]", add_bos=False, allow_special=True
    )


@pytest.mark.parametrize(
    ("prompt", "param", "words"),
    [
        (TokenPrompt([]), "prompt", "empty"),
        (TokenPrompt([1, VOCAB_SIZE]), "prompt", f"token id {VOCAB_SIZE}"),
        (TokenPrompt([-1, 1]), "prompt", "token id -1"),
        (TextPrompt("a" * 101), "prompt", "101 characters"),
        (ChatPrompt([USER | {"content": "a" * 101}]), "messages", "characters"),
    ],
)
async def test_prompts_that_no_model_can_read(reader, source, monkeypatch, prompt, param, words):
    """Refused with the field at fault, before any device is asked."""
    monkeypatch.setattr(prompts, "MAX_CHARS", 100)

    with pytest.raises(EngineError) as caught:
        await reader.prepare(source(template="{{ messages[0].content }}"), prompt)

    assert (caught.value.code, caught.value.param) == ("bad_request", param)
    assert words in caught.value.message


async def test_a_chat_that_renders_to_nothing_is_empty(reader, source):
    """An empty prompt is refused wherever it comes from."""
    with pytest.raises(EngineError, match="empty"):
        await reader.prepare(source(template="{# nothing #}"), ChatPrompt([USER]))


async def test_a_missing_file_is_the_checkpoints_fault(reader, tmp_path):
    """Not an internal error."""
    with pytest.raises(EngineError) as caught:
        await reader.prepare(
            TextSource(str(tmp_path / "gone.gguf"), "ab", VOCAB_SIZE), TextPrompt("a")
        )

    assert caught.value.code == "bad_checkpoint"


def test_the_echo_of_ids_has_no_space_before_it(spaced):
    """The space that the tokenizer puts before a text is not the user's."""
    ids = spaced.encode("hello", add_bos=True, allow_special=True)

    assert PreparedPrompt(spaced, ids).echo == "hello"


CONTINUED = "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}</s>{% endfor %}<assistant>"


@pytest.mark.parametrize(
    ("words", "expected"),
    [("Hel", "<user>hello</s><assistant>Hel"), (" Hel ", "<user>hello</s><assistant>Hel")],
)
async def test_a_message_goes_on(reader, source, words, expected):
    """What the template writes behind it is left out, and white space that it trims stays trimmed."""
    said = {"role": "assistant", "content": words}
    prompt = ChatPrompt([USER, said], add_generation_prompt=False, continues=True)

    prepared = await reader.prepare(source(template=CONTINUED), prompt)

    assert prepared.text == expected


async def test_a_message_that_is_not_shown_cannot_go_on(reader, source):
    """Rather than that another is gone on with."""
    prompt = ChatPrompt([USER, {"role": "assistant", "content": "Hel"}], continues=True)

    with pytest.raises(EngineError) as caught:
        await reader.prepare(source(template="{{ messages[0].content }}"), prompt)
    assert caught.value.param == "continue_final_message"
