import pytest
import torch

from engine.checkpoint import Checkpoint, open_checkpoint
from engine.kernels.cpu.library import is_available
from engine.models.card import describe
from tests.engine.fixture_models import COMMITTED, Variant, variants

DTYPES = (torch.float32, torch.bfloat16)


def card_of(path, dtype=torch.bfloat16):
    with open_checkpoint(path) as checkpoint:
        return describe(checkpoint, dtype, native=False)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    "variant",
    variants("llama-", "gemma3-", "deepseek3-", "mamba", "falconh1-", "rwkv7-", "qwen3next-"),
    ids=str,
)
def test_footprints_are_exact(variant: Variant, dtype, load_model):
    """A card's bytes are those that the loaded model has."""
    for footprint in card_of(variant.path, dtype).footprints:
        model = load_model(variant.path, footprint.form, dtype)

        assert footprint.weights_bytes == model.weights_bytes
        tokens = sum(spec.bytes_per_token(dtype.itemsize) for spec in model.cache_specs)
        assert footprint.kv_bytes_per_token == tokens
        states = sum(spec.bytes_per_sequence for spec in model.cache_specs)
        assert footprint.state_bytes_per_sequence == states


def test_a_card_says_what_a_model_is():
    """Family, sizes and quantization, from headers."""
    card = card_of(COMMITTED / "llama-q/llama-q-Q4_K_M.gguf")

    assert (card.family, card.format, card.quantization) == ("llama", "gguf", "Q4_K_M")
    assert (card.num_parameters, card.vocab_size, card.context_length) == (549632, 368, 2048)
    assert card.tasks == ("completion",)
    assert [footprint.form for footprint in card.footprints] == ["dense", "packed"]
    dense, packed = card.footprints
    assert packed.weights_bytes < card.file_bytes < dense.weights_bytes


def test_packed_is_offered_only_where_it_is_smaller():
    """A full-precision model has one form in its own dtype."""
    path = COMMITTED / "llama-bf16/hf"

    assert [footprint.form for footprint in card_of(path).footprints] == ["dense"]
    assert len(card_of(path, torch.float32).footprints) == 2


def test_tensors_are_not_read(monkeypatch):
    """Describing a model of any size costs no more than its headers."""
    monkeypatch.setattr(Checkpoint, "read", lambda *_: pytest.fail("read a tensor"))

    assert card_of(COMMITTED / "gemma3-swa/hf").quantization == "BF16"


@pytest.mark.skipif(not is_available(), reason="the native library is not built")
def test_what_is_kept_in_fp8_is_read_by_the_reference():
    """Of native kernels none reads it, on whichever worker."""
    with open_checkpoint(COMMITTED / "llama-q/llama-q-Q4_K_M.gguf") as checkpoint:
        forms = {
            kind: [f.form for f in describe(checkpoint, torch.bfloat16, kv_dtype=kind).footprints]
            for kind in ("auto", "q8_0", "fp8")
        }

    assert forms == {"auto": ["tiled"], "q8_0": ["tiled"], "fp8": ["dense", "packed"]}


@pytest.mark.skipif(not is_available(), reason="the native library is not built")
def test_a_native_program_is_the_only_form():
    """Tiles are as small as packed rows and faster than anything else."""
    with open_checkpoint(COMMITTED / "llama-q/llama-q-Q4_K_M.gguf") as checkpoint:
        (tiled,) = describe(checkpoint, torch.bfloat16, native=True).footprints
        _, packed = describe(checkpoint, torch.bfloat16, native=False).footprints

    assert tiled.form == "tiled"
    assert tiled.weights_bytes == pytest.approx(packed.weights_bytes, rel=0.1)
    assert tiled.kv_bytes_per_token == packed.kv_bytes_per_token
