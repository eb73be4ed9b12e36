import gc
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

import engine.core.known
from engine.checkpoint import CheckpointError
from engine.core.weights import Opened, Weights
from engine.residency.sidecar import Sidecars
from tests.engine.batches import logprobs_of
from tests.engine.fixture_models import gguf_copy
from tests.engine.residency.images import QUANTISED, PatientStore, kept, needs_native
from tests.engine.residency.test_image import num_maps

pytestmark = needs_native

PROMPT = [1, 2, 3]
ENOUGH = 2**30


def weights_in(folder: Path | None, warm_bytes: int | None = ENOUGH) -> Weights:
    return Weights(torch.float32, PatientStore(folder), warm_bytes)


def opened(weights: Weights, path: Path = QUANTISED) -> Opened:
    return weights.open(path, "tiled")


def test_weights_come_back_warm(tmp_path):
    """Without their image, which is gone, and with the same values; then they are in use again."""
    weights = weights_in(tmp_path)
    first = opened(weights)
    expected = logprobs_of(first.model, PROMPT)
    weights.close(first)
    for image in tmp_path.iterdir():
        image.unlink()

    again = opened(weights)
    assert (first.tier, again.tier) == ("built", "warm")
    assert again.key == first.key
    assert again.tape is not None
    assert torch.equal(logprobs_of(again.model, PROMPT), expected)
    assert weights.warm_models == 0


def test_dtypes_share_a_budget(tmp_path):
    """A model in each is a model of its own; the one that has been unused longer makes room."""
    weights = weights_in(tmp_path)
    exact, short = (weights.open(QUANTISED, "tiled", dtype=d) for d in (None, torch.bfloat16))
    assert exact.key != short.key
    for each in (exact, short):
        weights.close(each)
    assert weights.warm_models == 2
    tight = weights_in(tmp_path, warm_bytes=weights.warm_bytes - 1)

    for dtype in (torch.float32, torch.bfloat16):
        tight.close(tight.open(QUANTISED, "tiled", dtype=dtype))
    assert tight.warm_models == 1
    assert tight.open(QUANTISED, "tiled", dtype=torch.bfloat16).tier == "warm"
    again = opened(tight)
    assert (again.tier, again.key) == ("disk", exact.key)


def test_only_what_takes_long_is_announced(tmp_path):
    """A load gives way to steps from then on; one of warm weights is over sooner than a step."""
    weights, told = weights_in(tmp_path), []
    first = weights.open(QUANTISED, "tiled", take_time=lambda: told.append("built"))
    weights.close(first)
    assert "built" in told

    told.clear()
    weights.open(QUANTISED, "tiled", take_time=lambda: told.append("warm"))
    assert not told


def test_what_is_warm_is_counted(tmp_path):
    """Only what nobody uses."""
    weights = weights_in(tmp_path)
    one = opened(weights)
    assert (weights.warm_models, weights.warm_bytes) == (0, 0)

    assert not weights.close(one)
    assert weights.warm_models == 1
    assert weights.warm_bytes >= one.weights_bytes


def test_without_a_budget_nothing_is_kept(tmp_path):
    """Closing unmaps, and says so; the next load is from disk, and reads nothing of the checkpoint."""
    weights = weights_in(tmp_path, warm_bytes=0)
    before = num_maps()
    first = opened(weights)
    assert weights.close(first)
    del first
    gc.collect()

    assert num_maps() == before
    assert opened(weights).tier == "disk"


def test_headers_are_read_once(tmp_path, monkeypatch):
    """As long as the image is there: also when the weights themselves were let go of."""
    weights = weights_in(tmp_path, warm_bytes=0)
    weights.close(opened(weights))

    def refuse(path: Path) -> None:
        raise AssertionError(f"{path} is read again")

    monkeypatch.setattr(engine.core.known, "open_checkpoint", refuse)
    again = opened(weights)
    assert torch.isfinite(logprobs_of(again.model, PROMPT)).all()


def test_an_image_that_is_gone_is_built_from_the_checkpoint(tmp_path):
    """What is known of its headers does not stand in for it."""
    weights = weights_in(tmp_path, warm_bytes=0)
    weights.close(opened(weights))
    for image in tmp_path.iterdir():
        image.unlink()

    assert opened(weights).tier == "built"


@pytest.mark.parametrize("warm_bytes", [0, ENOUGH])
def test_a_changed_checkpoint_is_noticed(tmp_path, warm_bytes):
    """Neither warm weights nor headers of its last state are used, and its key is another."""
    path = gguf_copy(tmp_path / "model.gguf", "llama-plain")
    weights = weights_in(tmp_path / "images", warm_bytes)
    first = opened(weights, path)
    weights.close(first)
    content = bytearray(path.read_bytes())
    content[-1] ^= 0x40
    path.write_bytes(content)

    again = opened(weights, path)
    assert again.tier == "built"
    assert again.key != first.key


def test_a_checkpoint_that_is_gone_is_an_error(tmp_path):
    """Warm weights do not stand in for it."""
    path = gguf_copy(tmp_path / "model.gguf", "llama-plain")
    weights = weights_in(tmp_path / "images")
    weights.close(opened(weights, path))
    path.unlink()

    with pytest.raises(CheckpointError, match="cannot be read"):
        opened(weights, path)


def test_the_one_used_longest_ago_goes_first(tmp_path):
    """Of three where two have room."""
    paths = [gguf_copy(tmp_path / f"{name}.gguf", "llama-plain") for name in "abc"]
    size = opened(weights_in(tmp_path / "images"), paths[0]).weights_bytes
    weights = weights_in(tmp_path / "images", warm_bytes=2 * size + size // 2)
    for path in (*paths[:2], paths[0], paths[2]):
        weights.close(opened(weights, path))

    assert weights.warm_models == 2
    assert opened(weights, paths[0]).tier == "warm"
    assert opened(weights, paths[1]).tier != "warm"


def test_images_in_memory_alone_are_kept_too():
    """Without them the next load would build again."""
    weights = weights_in(None)
    weights.close(opened(weights))

    assert opened(weights).tier == "warm"


def test_a_link_to_a_checkpoint_is_that_checkpoint(tmp_path):
    """It finds the warm weights of the file, whichever name asked for them."""
    link = tmp_path / "link.gguf"
    link.symlink_to(QUANTISED.resolve())
    weights = weights_in(tmp_path / "images")
    weights.close(opened(weights))

    assert opened(weights, link).tier == "warm"


def test_one_checkpoint_may_be_open_twice(tmp_path):
    """Both run, and one is kept when both were closed."""
    weights = weights_in(tmp_path)
    both = [opened(weights), opened(weights)]
    one, other = (logprobs_of(each.model, PROMPT) for each in both)
    assert torch.equal(one, other)
    for each in both:
        weights.close(each)

    assert weights.warm_models == 1


def test_threads_may_open_and_close(tmp_path):
    """Whatever they find, warm or not, it computes the same; in the end nothing is in use."""
    paths = [gguf_copy(tmp_path / f"{name}.gguf", "llama-plain") for name in "abc"]
    images = tmp_path / "images"
    size = opened(weights_in(images), paths[0]).weights_bytes
    weights = weights_in(images, warm_bytes=2 * size + size // 2)

    def use(number: int) -> list[float]:
        model = opened(weights, paths[number % 3])
        found = logprobs_of(model.model, PROMPT)
        weights.close(model)
        return found.flatten().tolist()

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(use, range(24)))
    assert all(each == found[0] for each in found)
    assert weights.warm_models == 2


@pytest.mark.parametrize("form", ["dense", "packed"])
def test_other_forms_are_not_kept(form):
    """They are the reference, and where nothing runs natively."""
    weights = weights_in(None)
    first = weights.open(QUANTISED, form)
    assert first.tape is None
    assert weights.close(first)

    again = weights.open(QUANTISED, form)
    assert (again.tier, again.key) == ("disk", first.key)
    assert weights.warm_models == 0


def test_keys_tell_forms_and_dtypes_apart(tmp_path):
    """What has one key computes the same."""
    images = PatientStore(tmp_path)
    exact, rounded = (Weights(dtype, images, 0) for dtype in (torch.float32, torch.bfloat16))
    keys = {
        weights.open(QUANTISED, form).key
        for weights in (exact, rounded)
        for form in ("dense", "tiled")
    }

    assert len(keys) == 4
    assert len(kept(tmp_path, ".image")) == 2


def test_a_touched_checkpoint_is_loaded_anew(tmp_path):
    """Modification times count: between samples a change could not be seen."""
    path = gguf_copy(tmp_path / "model.gguf", "llama-plain")
    weights = weights_in(tmp_path / "images")
    weights.close(opened(weights, path))
    os.utime(path, ns=(0, 0))

    assert opened(weights, path).tier == "built"


def test_another_process_reads_no_headers(tmp_path, monkeypatch):
    """What the first one found out is beside the images, and computes the same."""
    first = opened(weights_in(tmp_path))
    monkeypatch.setattr("engine.core.known.open_checkpoint", refuse)
    monkeypatch.setattr("engine.residency.image.open_checkpoint", refuse)
    again = opened(weights_in(tmp_path))

    assert (first.tier, again.tier) == ("built", "disk")
    assert (again.key, again.tape) == (first.key, first.tape)
    assert torch.equal(logprobs_of(again.model, [1, 2, 3]), logprobs_of(first.model, [1, 2, 3]))


@pytest.mark.parametrize("content", [b"", b"\x80", b"rubbish"])
def test_an_outline_that_cannot_be_read_is_made_anew(tmp_path, monkeypatch, content):
    """Whatever stands in its file."""
    opened(weights_in(tmp_path))
    monkeypatch.setattr(Sidecars, "find", lambda *_: content)

    assert opened(weights_in(tmp_path)).tier == "disk"


def test_outlines_may_be_deleted(tmp_path):
    """They are made anew."""
    opened(weights_in(tmp_path))
    for path in tmp_path.glob("*.known"):
        path.unlink()

    assert opened(weights_in(tmp_path)).tier == "disk"
    assert len(kept(tmp_path, ".known")) == 1


def refuse(path: object) -> None:
    raise AssertionError(f"{path} is read")
