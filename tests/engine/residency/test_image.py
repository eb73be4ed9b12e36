import gc
import os
import re
from itertools import count
from pathlib import Path

import psutil
import pytest
import torch

from engine.checkpoint import CheckpointError, open_checkpoint
from engine.core.opening import open_resident
from engine.kernels.weight import Weight
from engine.models.blueprint import blueprint
from engine.models.tiling import kept_as, tiled_weights_bytes
from engine.nn.module import parameters
from engine.residency.image import open_image
from engine.residency.image_store import ImageStore
from engine.residency.loader import LoadCancelled, load
from tests.engine.batches import logprobs_of
from tests.engine.fixture_models import COMMITTED, gguf_copy
from tests.engine.models.test_families import VARIANTS
from tests.engine.residency.images import QUANTISED, cut_into_blocks, kept, needs_native, opened

pytestmark = needs_native

DTYPES = (torch.float32, torch.bfloat16)


def in_memory() -> ImageStore:
    return ImageStore(None)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_an_image_holds_what_the_reference_loads(variant, dtype):
    """Every parameter, bit for bit; a format without tiles is rounded to what is computed in."""
    with open_checkpoint(variant.path) as checkpoint:
        model, _ = open_image(checkpoint, dtype, in_memory())
        expected = load(checkpoint, "packed", dtype, lambda _: None, lambda: False)
        as_stored = {
            binding.parameter.path: kept_as(binding, dtype)[0].endswith(f":{type_of(binding)}")
            for binding in blueprint(checkpoint).bindings
        }

    for ours, theirs in zip(parameters(model), parameters(expected), strict=True):
        found, wanted = ours.get(), theirs.get()
        if isinstance(wanted, Weight):
            precision = torch.float32 if as_stored[ours.path] else found.dtype
            assert found.is_tiled
            assert found.dtype == wanted.dtype
            found, wanted = found.unpack(torch.float32), wanted.unpack(precision).float()
        assert found.dtype == wanted.dtype
        assert torch.equal(found, wanted), ours.path


def type_of(binding) -> str:
    """Of the first of a parameter's stored tensors, as tiles have it."""
    stored = binding.sources[0].tensor.type if binding.sources else ""
    return {"FP8_ROW": "F8", "FP8_BLOCK": "F8", "MXFP4_SPLIT": "MXFP4"}.get(stored, stored)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_its_size_is_known_from_headers(variant, dtype):
    """Exactly what the loaded model's parameters take."""
    with open_checkpoint(variant.path) as checkpoint:
        foreseen = tiled_weights_bytes(blueprint(checkpoint), dtype)
        model, _ = open_image(checkpoint, dtype, in_memory())

    assert foreseen == model.weights_bytes


def test_the_second_load_builds_nothing(tmp_path):
    """And has the same values."""
    first, built = opened(QUANTISED, ImageStore(tmp_path))
    second, mapped = opened(QUANTISED, ImageStore(tmp_path))

    assert built.was_built
    assert not mapped.was_built
    assert torch.equal(logprobs_of(first, [1, 2, 3]), logprobs_of(second, [1, 2, 3]))
    assert kept(tmp_path) == [built.path.name]
    assert built.path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("model", ["llama-q/llama-q-Q4_K_M.gguf", "gemma3-swa/hf"])
def test_pieces_make_the_same_image(tmp_path, monkeypatch, model):
    """However small they are, whichever thread has them: no byte differs."""
    _, whole = opened(COMMITTED / model, ImageStore(tmp_path / "whole"))
    cut_into_blocks(monkeypatch, 1024)
    monkeypatch.setattr("engine.residency.image_map._PART_BYTES", 4096)
    _, pieces = opened(COMMITTED / model, ImageStore(tmp_path / "pieces"))

    assert pieces.was_built
    assert pieces.path.read_bytes() == whole.path.read_bytes()


def test_a_block_of_the_file_is_written_at_once(tmp_path, monkeypatch):
    """So that the system has a huge page for it; no write reaches over a block's end."""
    block, written = 4096, {}
    cut_into_blocks(monkeypatch, block)
    really = os.pwritev

    def pwritev(descriptor, views, offset):
        written[offset] = sum(view.nbytes for view in views)
        return really(descriptor, views, offset)

    monkeypatch.setattr(os, "pwritev", pwritev)
    _, image = opened(QUANTISED, ImageStore(tmp_path))
    size = image.path.stat().st_size
    del written[0]  # the header
    first = min(written)

    assert sorted(written) == [first, *range(first - first % block + block, size, block)]
    assert all(
        offset + num == min(size, (offset // block + 1) * block) for offset, num in written.items()
    )


def test_dtypes_have_images_of_their_own(tmp_path):
    """What is computed in is part of what an image is."""
    for dtype in DTYPES:
        opened(QUANTISED, ImageStore(tmp_path), dtype)

    assert len(kept(tmp_path)) == 2


def test_a_changed_checkpoint_is_built_anew(tmp_path):
    """Also where neither size nor headers changed."""
    path = gguf_copy(tmp_path / "model.gguf", "llama-plain")
    store = ImageStore(tmp_path / "images")
    opened(path, store)
    content = bytearray(path.read_bytes())
    content[-1] ^= 0x40
    path.write_bytes(content)

    _, image = opened(path, store)
    assert image.was_built


def test_a_checkpoint_that_changes_meanwhile_gives_no_image(tmp_path):
    """The file is another one than at the start."""
    path = gguf_copy(tmp_path / "model.gguf", "llama-plain")

    with pytest.raises(CheckpointError, match="changed"):
        opened(path, ImageStore(tmp_path / "images"), progress=lambda _: os.utime(path, ns=(0, 0)))
    assert kept(tmp_path / "images") == []


@pytest.mark.parametrize("place", [0, 9, 20, 400, 100_000, -1], ids=str)
def test_a_damaged_image_is_built_anew(tmp_path, place):
    """Wherever a bit has flipped: in the header, its table, the weights."""
    _, image = opened(QUANTISED, ImageStore(tmp_path))
    damaged = bytearray(image.path.read_bytes())
    damaged[place] ^= 1
    image.path.write_bytes(damaged)

    repaired, again = opened(QUANTISED, ImageStore(tmp_path))
    assert again.was_built
    assert not opened(QUANTISED, ImageStore(tmp_path))[1].was_built
    assert torch.isfinite(logprobs_of(repaired, [1, 2, 3])).all()


def test_an_image_that_was_cut_short_is_built_anew(tmp_path):
    """It is not mapped: that would be a bus error."""
    _, image = opened(QUANTISED, ImageStore(tmp_path))
    os.truncate(image.path, 100)

    assert opened(QUANTISED, ImageStore(tmp_path))[1].was_built


def test_a_mapped_image_may_be_deleted(tmp_path):
    """The model goes on; the next load builds."""
    model, image = opened(QUANTISED, ImageStore(tmp_path))
    before = logprobs_of(model, [1, 2, 3])
    image.path.unlink()
    rebuilt, again = opened(QUANTISED, ImageStore(tmp_path))

    assert again.was_built
    assert torch.equal(logprobs_of(model, [1, 2, 3]), before)
    assert torch.equal(logprobs_of(rebuilt, [1, 2, 3]), before)


def test_an_image_is_in_use_as_long_as_its_model(tmp_path):
    """The map holds the lock, so that others make no room with it; dropping the model frees it."""
    model, image = opened(QUANTISED, ImageStore(tmp_path))
    small = ImageStore(tmp_path, max_bytes=image.nbytes)
    assert opened(QUANTISED, small, torch.bfloat16)[1].path is None

    del model
    gc.collect()
    assert opened(QUANTISED, small, torch.bfloat16)[1].path is not None
    assert not image.path.exists()


def test_the_tiled_form_is_opened_from_its_image(tmp_path):
    """The report says what is mapped."""
    images = ImageStore(tmp_path)
    _, report = open_resident(QUANTISED, "tiled", torch.float32, 32, images=images)
    images.wait()

    with open_checkpoint(QUANTISED) as checkpoint:
        assert report.weights_bytes == tiled_weights_bytes(blueprint(checkpoint), torch.float32)
    assert len(kept(tmp_path, ".image")) == 1


def test_progress_goes_from_building_to_the_end(tmp_path):
    """It never goes back, and ends at one, with and without building."""
    for _ in range(2):
        seen: list[float] = []
        opened(QUANTISED, ImageStore(tmp_path), progress=seen.append)

        assert seen == sorted(seen)
        assert seen[-1] == pytest.approx(1)


@pytest.mark.parametrize("share", [0.0, 0.4, 0.6, 0.9])
def test_a_cancelled_load_leaves_nothing(tmp_path, monkeypatch, share):
    """Whether it was building or reading back."""
    cut_into_blocks(monkeypatch, 16384)
    whole, asked = count(), count()
    opened(QUANTISED, ImageStore(tmp_path / "whole"), cancelled=lambda: next(whole) < 0)
    limit = share * next(whole)

    with pytest.raises(LoadCancelled):
        opened(QUANTISED, ImageStore(tmp_path), cancelled=lambda: next(asked) >= limit)
    assert kept(tmp_path, ".partial") == []


@pytest.mark.parametrize("is_kept", [True, False])
def test_nothing_leaks(tmp_path, is_kept):
    """Descriptors, maps and memory are what they were after the model is dropped, 20 times."""
    store, process = ImageStore(tmp_path if is_kept else None), psutil.Process()
    for _ in range(3):
        opened(QUANTISED, store)
    gc.collect()
    files, before, resident = process.num_fds(), num_maps(), process.memory_info().rss

    for _ in range(20):
        model, image = opened(QUANTISED, store)
        assert num_maps() == before + 1
        del model

    gc.collect()
    assert num_maps() == before
    assert process.num_fds() == files
    assert process.memory_info().rss - resident < 10 * image.nbytes


def num_maps() -> int:
    """Of images that this process has mapped, kept ones and those in memory."""
    return len(re.findall(r"llama-q-Q4_K_M-\w+", Path("/proc/self/maps").read_text()))
