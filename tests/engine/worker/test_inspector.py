import asyncio
from pathlib import Path

import pytest

from engine.api import DType, KVDType, ModelCard
from engine.inspect import answer
from engine.residency.sidecar import Sidecars
from engine.sandbox import Child
from engine.wire import Inspect
from engine.worker.inspector import Inspector
from tests.engine.fixture_models import COMMITTED, gguf_copy


class Counted:
    """How often headers are read: by this process, for starting a child takes seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = 0

        async def call(_: Child, payload: bytes) -> bytes:
            self.calls += 1
            return answer(payload)

        monkeypatch.setattr(Child, "call", call)


@pytest.fixture
def children(monkeypatch) -> Counted:
    return Counted(monkeypatch)


def card_of(
    folder: Path | None,
    path: Path,
    template: str | None = None,
    dtype: DType = "auto",
    kv_dtype: KVDType = "auto",
) -> ModelCard | None:
    """As a worker that was just started says it."""
    inspector = Inspector("float32", known=Sidecars(folder))
    inspected = asyncio.run(inspector.inspect(Inspect(3, str(path), template, dtype, kv_dtype)))
    assert inspected.call == 3
    return inspected.card


def test_a_card_outlives_its_process(tmp_path, children):
    """The next one asks no child, unless the file has changed; an operator's template is another."""
    path = gguf_copy(tmp_path / "model.gguf", "llama-plain")
    folder = tmp_path / "kept"
    first = card_of(folder, path)
    assert first is not None
    assert children.calls == 1

    assert card_of(folder, path) == first
    assert children.calls == 1
    templated = card_of(folder, path, "{{ tools }}")
    assert templated is not None
    assert templated.capabilities == ("tools",)
    path.touch()
    assert card_of(folder, path) == first
    assert children.calls == 3


def test_a_card_is_of_a_dtype(tmp_path, children):
    """Each is kept for itself; what the worker was started with is the same by its name."""
    path = COMMITTED / "llama-plain/hf"
    exact = card_of(tmp_path, path)
    short = card_of(tmp_path, path, dtype="bfloat16")
    packed = card_of(tmp_path, path, kv_dtype="q8_0")
    assert exact is not None
    assert short is not None
    assert packed is not None
    assert children.calls == 3

    a_token = [card.footprints[0].kv_bytes_per_token for card in (exact, short, packed)]
    assert a_token[1] == a_token[0] / 2
    assert a_token[2] < a_token[0] / 3
    assert card_of(tmp_path, path, dtype="float32") == exact
    assert card_of(tmp_path, path, dtype="bfloat16") == short
    assert children.calls == 3


def test_failures_are_not_kept(tmp_path, children):
    """What was wrong with a file may be mended in ways that nobody sees in it."""
    path = tmp_path / "model.gguf"
    path.write_bytes(b"rubbish")

    assert card_of(tmp_path / "kept", path) is None
    assert card_of(tmp_path / "kept", path) is None
    assert children.calls == 2


def test_a_card_that_cannot_be_read_is_made_anew(tmp_path, monkeypatch, children):
    """Whatever stands in its file."""
    monkeypatch.setattr(Sidecars, "find", lambda *_: b"rubbish")

    assert card_of(tmp_path, COMMITTED / "llama-plain/hf") is not None
    assert children.calls == 1
