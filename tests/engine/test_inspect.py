"""Cards of real checkpoints, and of files that are none, through the child's own door."""

from pathlib import Path

import msgspec
import pytest

from engine.inspect import answer
from engine.wire import Inspect, Inspected

FIXTURES = Path(__file__).parents[1] / "fixtures"


def ask(path: Path, chat_template: str | None = None) -> Inspected:
    asked = Inspect(3, str(path), chat_template, dtype="float32")
    reply = answer(msgspec.msgpack.encode((asked, ("cpu",))))
    return msgspec.msgpack.decode(reply, type=Inspected)


@pytest.mark.parametrize("name", ["hf", "llama-plain-F32.gguf"])
def test_a_checkpoint_has_a_card(name):
    """Family, sizes and tasks, the same from both formats."""
    inspected = ask(FIXTURES / "llama-plain" / name)
    card = inspected.card

    assert inspected.call == 3
    assert card is not None
    assert (card.family, card.vocab_size) == ("llama", 368)
    assert card.footprints[0].form == "dense"
    assert "completion" in card.tasks


def test_a_model_with_a_template_chats():
    """The card's tasks say whether chat will work."""
    card = ask(FIXTURES / "llama-plain/hf").card

    assert card is not None
    assert card.tasks == ("chat", "completion")


def test_an_operators_template_says_what_a_model_can():
    """Instead of the checkpoint's own."""
    path = FIXTURES / "llama-plain/hf"
    own, other = ask(path).card, ask(path, "{{ tools }}<think></think>").card

    assert own is not None
    assert other is not None
    assert "tools" not in own.capabilities
    assert other.capabilities == ("tools", "reasoning")


def test_a_model_without_a_template_completes_only(tmp_path):
    """A base model is no chat model."""
    folder = tmp_path / "base"
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (folder / name).write_bytes((FIXTURES / "llama-plain/hf" / name).read_bytes())
    card = ask(folder).card

    assert card is not None
    assert card.tasks == ("completion",)


@pytest.mark.parametrize("content", [b"", b"<!doctype html>", b"GGUF" + bytes(60)], ids=repr)
def test_a_file_that_is_no_model_is_a_bad_checkpoint(tmp_path, content):
    """A broken file is answered, not raised."""
    path = tmp_path / "broken.gguf"
    path.write_bytes(content)
    inspected = ask(path)

    assert inspected.card is None
    assert inspected.failure is not None
    assert inspected.failure.code == "bad_checkpoint"


def test_a_file_that_is_not_there_is_a_bad_checkpoint(tmp_path):
    """A path that went away since it was listed is answered too."""
    failure = ask(tmp_path / "gone.gguf").failure

    assert failure is not None
    assert failure.code == "bad_checkpoint"
