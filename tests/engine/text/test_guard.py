"""What clients write never becomes a token that only a template may write."""

import time
from collections.abc import Iterator

import pytest
import tokenizers
from tokenizers import models, pre_tokenizers

from engine.api import ChatPrompt, TextSource
from engine.checkpoint import open_checkpoint
from engine.text.guard import Guard, guard_of, without_marks
from engine.text.library import Library
from engine.text.pipeline import PipelineTokenizer
from engine.text.prompts import PromptReader
from engine.text.template import Renderer
from engine.text.tokenizer import MARK, Specials, Tokenizer
from tests.engine.text.conftest import FAMILIES, find_family

TEXT = "One, two: <b>three</b>\n\n  [four]  fünf 六 7777 </p> a<|b|>c"


@pytest.fixture(scope="module")
def reader(tmp_path_factory) -> Iterator[PromptReader]:
    renderer = Renderer()
    yield PromptReader(Library(tmp_path_factory.mktemp("cache")), renderer)
    renderer.close()


@pytest.fixture(params=["gguf", "hf"])
def tokenizer(request, fixture_tokenizer, family) -> Tokenizer:
    return fixture_tokenizer(family, request.param)


def named(tokenizer: Tokenizer) -> list[str]:
    """Special tokens that a text may be asked not to spell; long lists of unused ones cut short."""
    return sorted(name for name in tokenizer.special_names if len(name) > 1)[:40]


@pytest.mark.parametrize("family", FAMILIES)
def test_marks_change_nothing_but_names(tokenizer):
    """Read round its marks, a text has the ids that it has without them, wherever it stands."""
    border = named(tokenizer)[0] if named(tokenizer) else ""
    names = tokenizer.special_names
    marked = TEXT.replace("<b", f"<{MARK}b").replace("7", f"7{MARK}")
    for before, after in (("", ""), (border, ""), ("", border), (f"{border} ", f" {border}!")):
        plain = tokenizer.encode(f"{before}{TEXT}{after}", add_bos=False, allow_special=True)

        assert tokenizer.encode_guarded(f"{before}{marked}{after}", names) == plain
        assert tokenizer.encode_guarded(f"{before}{TEXT}{after}", names) == plain


@pytest.mark.parametrize("scheme", ["first", "always", "never"])
def test_a_space_is_marked_where_it_was(scheme):
    """Some vocabularies mark one before the first word of a text, and of no later stretch."""
    pieces = [*"\u2581ab<>c", "\u2581a", "<c>"]
    backend = tokenizers.Tokenizer(models.BPE({piece: n for n, piece in enumerate(pieces)}, []))
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace("\u2581", scheme)])
    backend.add_special_tokens(["<c>"])
    backend.add_tokens(["aa", "bb"])
    made = PipelineTokenizer(backend, Specials())

    for text in ("ab b", " ab", "<c>ab", "ab<c>b a<c>", "<c><c> b"):
        plain = made.encode(text, add_bos=False, allow_special=True)
        assert made.encode_guarded(text.replace("b", f"b{MARK}"), made.special_names) == plain


@pytest.mark.parametrize("family", FAMILIES)
def test_no_name_in_a_clients_words_becomes_its_token(tokenizer):
    """Alone, in a row, within another, cut and joined: only the template's own are read."""
    names = named(tokenizer)
    guard = guard_of(tokenizer, "")
    words = [f"a{name}b" for name in names] + [f"{name}{name}" for name in names]
    words += [f"{name[:2]}{name}{name[2:]}" for name in names] + ["".join(names)]
    border = names[0] if names else ""
    prompt = guard.prompt(ChatPrompt([{"role": "user", "content": each} for each in words]))
    special = {tokenizer.special_id(name) for name in names} - {None}

    for word, message in zip(words, prompt.messages, strict=True):
        ids = tokenizer.encode_guarded(f"{border}{message['content']}{border}", guard.names)
        found = [token_id for token_id in ids if token_id in special]
        own = tokenizer.encode(border, add_bos=False, allow_special=True) if border else []
        assert found == [*own, *own] or not special
        assert without_marks(message["content"]) == word


def test_every_word_of_a_client_is_guarded(byte_level):
    """Names, results, arguments and definitions of tools, and what templates are told beside."""
    name = byte_level.eos_token
    safe = f"{name[0]}{MARK}{name[1:]}"
    chat = ChatPrompt(
        [
            {"role": "user", "content": name, "name": name},
            {"role": "assistant", "tool_calls": [{"function": {"arguments": {name: [name]}}}]},
            {"role": "tool", "content": [{"type": "text", "text": name}]},
        ],
        tools=[{"function": {"name": "f", "parameters": {"properties": {name: {}}}}}],
        template_kwargs={"documents": [{"text": name}]},
    )

    guarded = guard_of(byte_level, "").prompt(chat)

    assert name not in repr(guarded)
    assert repr(guarded).count(repr(safe)[1:-1]) == 7
    assert chat.messages[0]["content"] == name


def test_words_without_names_stay_as_they_are(byte_level):
    """A template sees nothing unusual, and no prompt changes."""
    chat = ChatPrompt([{"role": "user", "content": TEXT}], tools=[{"a": 1}])

    assert guard_of(byte_level, "").prompt(chat) == chat


class Named(Guard):
    """Of a vocabulary of these names alone."""

    def __init__(self, special: set[str], added: set[str], template: str) -> None:
        class Names:
            special_names, added_names = frozenset(special), frozenset(added)

        super().__init__(Names, template)  # type: ignore[arg-type]  # all that it looks at


def test_an_assistants_own_markup_is_left_to_the_template():
    """Templates cut thoughts and calls out of what an assistant said; others may not open any."""
    guard = Named({"<end>", "</think>"}, {"<call>", "<b>", "\n\n"}, "<call> </think> \n\n")
    words = "<end> <call> </think> <b> \n\n"
    chat = ChatPrompt([{"role": role, "content": words} for role in ("user", "assistant")])

    user, assistant = (message["content"] for message in guard.prompt(chat).messages)

    assert user == f"<{MARK}end> <{MARK}call> <{MARK}/think> <b> \n\n"
    assert assistant == f"<{MARK}end> <call> </think> <b> \n\n"


def test_looking_for_names_takes_linear_time():
    """However many names there are, and however nearly they are spelled."""
    guard = Named({f"<unused{n}>" for n in range(6000)} | {"<" * 50 + ">"}, set(), "")
    chat = ChatPrompt([{"role": "user", "content": "<" * 100_000 + "<unused" * 30_000}])
    started = time.process_time()
    guard.prompt(chat)

    assert time.process_time() - started < 2


@pytest.mark.parametrize("family", ["llama-bf16", "llama-plain", "gemma3-swa", "rwkv7-goose"])
async def test_a_rendered_chat_has_the_templates_tokens_alone(reader, family, fixture_tokenizer):
    """From the request to ids: as many turns as there are messages, and the words are all there."""
    path = next(iter(sorted(find_family(family).glob("*.gguf"))))
    tokenizer = fixture_tokenizer(family, "gguf")
    end = tokenizer.eos_token
    template = "{% for m in messages %}{{ m.content | trim }}" + end + "{% endfor %}"
    source = TextSource(str(path), open_checkpoint(path).digest, tokenizer.vocab_size, template)
    contents = [f"a{end}b", f" {end}{end} ", end[:3], end[3:], MARK.join(end)]

    prepared = await reader.prepare(
        source, ChatPrompt([{"role": "user", "content": each} for each in contents])
    )

    assert prepared.token_ids.count(tokenizer.special_id(end)) == len(contents)
    # some put a space before each stretch of text
    text = "".join(each + end for each in contents).replace(MARK, "").replace(" ", "")
    assert prepared.spelling.text.replace(" ", "") == text
    raw = b"".join(prepared.spelling.pieces).decode()
    assert raw.replace(" ", "") == text
