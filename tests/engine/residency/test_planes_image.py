"""Images for GPUs: the values of the reference, laid out to be copied and multiplied."""

from itertools import pairwise

import pytest
import torch

from engine.checkpoint import open_checkpoint
from engine.kernels.weight import Weight
from engine.models.blueprint import blueprint
from engine.models.card import CACHE_UNITS, DEVICE_WORKSPACE_BYTES, describe
from engine.models.planes import UNIT, planes_kept_as
from engine.nn.module import parameters
from engine.residency.image import open_image
from engine.residency.image_plan import plan_image
from engine.residency.image_store import ImageStore
from engine.residency.loader import load
from engine.residency.outline import outline_of
from engine.residency.outline_file import decoded, encoded
from engine.residency.transfer import plan_transfer
from tests.engine.batches import logprobs_of
from tests.engine.fixture_models import COMMITTED
from tests.engine.models.test_families import VARIANTS
from tests.engine.residency.images import QUANTISED, cut_into_blocks, kept

DTYPES = (pytest.param(torch.float32, marks=pytest.mark.slow), torch.bfloat16)
SOME = [
    variant
    if variant.is_quantised or not number % 3
    else pytest.param(variant, marks=pytest.mark.slow)
    for number, variant in enumerate(VARIANTS)
]
PLAIN = COMMITTED / "llama-plain/llama-plain-F32.gguf"


def opened(path, store, dtype=torch.float32):
    with open_checkpoint(path) as checkpoint:
        found = open_image(checkpoint, dtype, store, layout="planes")
    store.wait()
    return found


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("variant", SOME, ids=str)
def test_an_image_holds_what_the_reference_loads(variant, dtype):
    """Every parameter, bit for bit; a format without planes is rounded to what is computed in."""
    with open_checkpoint(variant.path) as checkpoint:
        model, _ = open_image(checkpoint, dtype, ImageStore(None), layout="planes")
        expected = load(checkpoint, "packed", dtype, lambda _: None, lambda: False)
        is_exact = {
            binding.parameter.path: planes_kept_as(binding, dtype)[0] != "dense"
            for binding in blueprint(checkpoint).bindings
        }

    for ours, theirs in zip(parameters(model), parameters(expected), strict=True):
        found, wanted = ours.get(), theirs.get()
        if isinstance(wanted, Weight):
            precision = torch.float32 if is_exact[ours.path] else found.dtype
            assert found.is_planes == is_exact[ours.path]
            assert found.dtype == wanted.dtype
            assert found.shape == wanted.shape
            found, wanted = found.unpack(torch.float32), wanted.unpack(precision).float()
        assert found.dtype == wanted.dtype
        assert torch.equal(found, wanted), ours.path


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("variant", VARIANTS[::4], ids=str)
def test_its_size_is_known_from_headers(variant, dtype):
    """What a card says is what an arena is asked for; every byte of a segment is a segment's own."""
    with open_checkpoint(variant.path) as checkpoint:
        plan = plan_image(checkpoint, blueprint(checkpoint), dtype, "planes")
        card = describe(checkpoint, dtype, kinds=("cuda",), device_dtype=dtype)

    (footprint,) = card.footprints
    assert (footprint.form, footprint.kind) == ("planes", "cuda")
    needed = sum(piece.nbytes for piece in plan_transfer(plan).pieces)
    assert footprint.weights_bytes == -(-needed // UNIT) * UNIT
    assert footprint.workspace_bytes >= DEVICE_WORKSPACE_BYTES + CACHE_UNITS * UNIT
    places = sorted((segment.offset, segment.end) for segment in plan.segments)
    assert all(one[1] <= other[0] for one, other in pairwise(places))
    assert all(start % 256 == 0 for start, _ in places)


@pytest.mark.parametrize(
    ("path", "names"),
    [
        (PLAIN, [("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj")]),
        (COMMITTED / "qwen2-plain/hf", [("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj")]),
    ],
    ids=str,
)
def test_what_one_input_is_multiplied_by_lies_side_by_side(path, names):
    """Without a gap, where all are of one format: they can be read as one matrix."""
    if not path.exists():
        pytest.skip("not among the fixtures")
    with open_checkpoint(path) as checkpoint:
        plan = plan_image(checkpoint, blueprint(checkpoint), torch.float32, "planes")
    of = {segment.path: segment for segment in plan.segments}
    first = next(path for path in of if path.endswith(f"{names[0][0]}.weight"))
    layer = first.split(".self_attn")[0]

    for block, together in zip(("self_attn", "mlp"), names, strict=True):
        segments = [of[f"{layer}.{block}.{name}.weight"] for name in together]
        for one, other in pairwise(segments):
            assert one.end == other.offset


def test_layers_begin_at_pages():
    """And come in the order in which they are computed."""
    with open_checkpoint(QUANTISED) as checkpoint:
        plan = plan_image(checkpoint, blueprint(checkpoint), torch.bfloat16, "planes")
    pieces = plan_transfer(plan).pieces

    assert len(pieces) == 2 + len(
        {s.path.split(".")[2] for s in plan.segments if "layers" in s.path}
    )
    assert all(piece.start % 4096 == 0 for piece in pieces)


def test_layouts_have_images_of_their_own(tmp_path):
    """One checkpoint may go to a CPU and to a GPU; the second load of each builds nothing."""
    store = ImageStore(tmp_path)
    first, built = opened(QUANTISED, store)
    second, mapped = opened(QUANTISED, ImageStore(tmp_path))
    assert (built.was_built, mapped.was_built) == (True, False)
    assert torch.equal(logprobs_of(first, [1, 2, 3]), logprobs_of(second, [1, 2, 3]))

    with open_checkpoint(QUANTISED) as checkpoint:
        keys = {
            plan_image(checkpoint, blueprint(checkpoint), torch.float32, layout).key
            for layout in ("tiled", "planes")
        }
    assert len(keys) == 2
    assert len(kept(tmp_path, ".image")) == 1


def test_pieces_make_the_same_image(tmp_path, monkeypatch):
    """However small they are: no byte differs."""
    _, whole = opened(QUANTISED, ImageStore(tmp_path / "whole"))
    cut_into_blocks(monkeypatch, 1024)
    monkeypatch.setattr("engine.residency.image_map._PART_BYTES", 4096)
    _, pieces = opened(QUANTISED, ImageStore(tmp_path / "pieces"))

    assert pieces.path.read_bytes() == whole.path.read_bytes()


@pytest.mark.parametrize("place", [0, 20, 400, -1], ids=str)
def test_a_damaged_image_is_built_anew(tmp_path, place):
    """The checksums see it, as of any image."""
    _, image = opened(QUANTISED, ImageStore(tmp_path))
    damaged = bytearray(image.path.read_bytes())
    damaged[place] ^= 1
    image.path.write_bytes(damaged)

    assert opened(QUANTISED, ImageStore(tmp_path))[1].was_built


def test_an_outline_says_its_layout():
    """And comes back from its file as it was."""
    with open_checkpoint(QUANTISED) as checkpoint:
        outlines = [outline_of(checkpoint, torch.bfloat16, each) for each in ("tiled", "planes")]

    assert len({outline.key for outline in outlines}) == 2
    for outline in outlines:
        assert decoded(encoded(outline)) == outline
    assert outlines[1].operation_bytes > DEVICE_WORKSPACE_BYTES
