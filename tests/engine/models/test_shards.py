"""Models in parts: ranks together compute what the whole does, and what cannot be divided says so."""

from functools import partial

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from engine.cache.caches import Caches
from engine.checkpoint import CheckpointError, TensorInfo, open_checkpoint
from engine.core.opening import cache_size
from engine.core.resident import Resident
from engine.models.blueprint import blueprint
from engine.models.card import describe
from engine.models.shards import Shard
from engine.models.sources import Columns, Part, Source
from engine.nn.module import group_of, parameters
from engine.nn.recording import record
from engine.quant.formats import FORMATS
from tests.engine.batches import logprobs_of
from tests.engine.fixture_models import COMMITTED, Variant, variants
from tests.engine.made_models import PROMPT, SIZES, make
from tests.engine.meeting import parts
from tests.engine.vectors import embed, resident_of

FAR = 1e-4
"""Of sums in another order, in float32."""

COMMON = {key: SIZES[key] for key in SIZES.keys() - {"num_key_value_heads", "head_dim"}}

REFUSED = {
    "olmo2-": "q_norm.weight of RMSNorm",
    "olmo3-": "q_norm.weight of RMSNorm",
    "olmoe-": "q_norm.weight of RMSNorm",
    "minimaxm2-": "q_norm.weight of RMSNorm",
    "minimax-text01": "slopes of Lightning",
    "mamba-1": "mixer.A of Mamba",
    "mamba2-": "norm.weight of GatedNorm",
    "falconmamba-": "mixer.A of Mamba",
    "gemma3n-": "family gemma3n",
    "stablelm-12b-style/hf": "stored in parts of its own",
}
"""What is not divided, and why: norms over all heads, scans, and gates that look at a whole row."""


def is_in_wide_blocks(variant: Variant) -> bool:
    """Of 256 values: as many as these tiny models have, so that there is nothing to share out."""
    return variant.is_quantised and ("_K" in variant.key or "IQ4_XS" in variant.key)


def refusal(variant: Variant) -> str | None:
    if is_in_wide_blocks(variant):
        return "in runs of 256 cannot be shared out among 2"
    return next((why for name, why in REFUSED.items() if str(variant).startswith(name)), None)


def first_of_each() -> list[Variant]:
    """One form of each committed model, and another of those that store things in other ways."""
    of = {}
    for variant in variants(""):
        if (COMMITTED / variant.model).is_dir() and not is_in_wide_blocks(variant):
            of.setdefault(variant.model, variant)
    others = ("llama-plain-F32", "falcon-40b-style-BF16", "gptoss-mxfp4-BF16", "llama-q-Q4_0")
    return [*of.values(), *(v for v in variants("") if v.key.startswith(others))]


def check(variant: Variant, load_model, size: int) -> None:
    form = "packed" if variant.is_quantised else "dense"
    expected = logprobs_of(load_model(variant.path, form, torch.float32), variant.prompts[0])
    meeting, models = parts(variant.path, form, size)
    found = meeting.together([partial(logprobs_of, model, variant.prompts[0]) for model in models])

    assert all((logprobs - expected).abs().max() <= FAR for logprobs in found)


@pytest.mark.parametrize("variant", [v for v in first_of_each() if not refusal(v)], ids=str)
def test_two_ranks_compute_what_one_does(variant, load_model):
    """To float32's rounding: every family, dense and quantised, with biases, experts and latents."""
    check(variant, load_model, 2)


@pytest.mark.slow
@pytest.mark.parametrize("variant", [v for v in variants("") if not refusal(v)], ids=str)
def test_every_stored_form_can_be_divided(variant, load_model):
    """Fused, permuted, stacked or transposed."""
    check(variant, load_model, 2)


def test_encoders_can_be_divided(tmp_path):
    """Vectors of texts that are read whole; their biases are added once."""
    config = BertConfig(**COMMON, hidden_act="gelu")
    make(BertModel, config).save_pretrained(tmp_path)
    texts = [PROMPT, PROMPT[3:9], [7]]
    meeting, models = parts(tmp_path, "dense", 2)
    size = cache_size(models[0].cache_specs, 256, 1)
    residents = [Resident(m, Caches.of(m.cache_specs, size, torch.float32)) for m in models]
    found = meeting.together([partial(embed, resident, texts) for resident in residents])

    expected = embed(resident_of(tmp_path), texts)
    assert all((vectors - expected).abs().max() <= FAR for vectors in found)


@pytest.mark.parametrize(
    ("model", "size"),
    [("llama-plain", 4), ("llama-rope3", 3), ("gemma1-mqa", 4), ("mixtral-moe", 4)],
)
def test_ranks_may_share_a_head_of_keys(model, size, load_model):
    """Where there are fewer heads of keys than ranks, several have the same; of queries each its own."""
    check(variants(model)[0], load_model, size)


@pytest.mark.parametrize("variant", [v for v in variants("") if refusal(v)], ids=str)
def test_what_cannot_be_divided_is_refused(variant):
    """By the name of what stands in the way."""
    with (
        open_checkpoint(variant.path) as checkpoint,
        pytest.raises(CheckpointError, match="cannot be spread over 2 devices") as refused,
    ):
        blueprint(checkpoint, Shard(0, 2))

    assert refusal(variant) in refused.value.message


def test_heads_that_do_not_come_out_even_are_refused():
    """Two heads of keys for three ranks."""
    with (
        open_checkpoint(COMMITTED / "llama-plain/hf") as checkpoint,
        pytest.raises(CheckpointError, match="4 heads, 2 of keys, cannot be shared out among 3"),
    ):
        blueprint(checkpoint, Shard(0, 3))


def test_parts_need_not_be_equal():
    """Three runs of inner values between two ranks: the first has one more."""
    with open_checkpoint(COMMITTED / "llama-plain/hf") as checkpoint:
        widths = [blueprint(checkpoint, Shard(rank, 2)).config.intermediate_size for rank in (0, 1)]

    assert widths == [64, 32]


def test_a_part_is_recorded_with_what_ranks_add_up():
    """After attention and after the network, in every layer; a whole model has no group."""
    with open_checkpoint(COMMITTED / "llama-plain/hf") as checkpoint:
        part = blueprint(checkpoint, Shard(1, 2)).model
        assert group_of(blueprint(checkpoint).model) is None
    calls = record(part, 5, torch.bfloat16).calls
    reduced = [call for call in calls if call.op == "all_reduce"]

    assert len(reduced) == 2 * len(part.model.layers)
    assert all(call.tensors["group"] == ("group",) for call in reduced)


def test_one_rank_adds_the_biases():
    """Those of products that are added up; the others have zeros in their place."""
    _, models = parts(COMMITTED / "starcoder2-bias/hf", "dense", 2)
    added = ("o_proj.bias", "down_proj.bias")
    of_first, of_second = (
        [p.get() for p in parameters(model) if p.path.endswith(added)] for model in models
    )

    assert all(bias.any() for bias in of_first)
    assert not any(bias.any() for bias in of_second)


@pytest.mark.parametrize("model", ["llama-plain", "deepseek2-lite", "mixtral-moe"])
def test_the_card_says_what_every_device_has(model):
    """Of the first of two ranks exactly: embeddings, norms and latents in full, and half of the rest."""
    with open_checkpoint(variants(model)[0].path) as checkpoint:
        footprint = describe(checkpoint, torch.float32, native=False).footprints[0]
        part = blueprint(checkpoint, Shard(0, 2))
    whole, shared = footprint.whole_weights_bytes, footprint.weights_bytes
    of_token = sum(spec.bytes_per_token(4) for spec in part.model.cache_specs)

    assert whole - (whole - shared) // 2 == sum(
        b.nbytes("dense", torch.float32) for b in part.bindings
    )
    assert 0 < whole < shared
    total, all_of_it = footprint.kv_bytes_per_token, footprint.whole_kv_bytes_per_token
    assert all_of_it - (all_of_it - total) // 2 == of_token
    assert all_of_it == (total if model.startswith("deepseek") else 0)


@pytest.mark.parametrize("name", ["Q4_K", "Q8_0", "F16"])
def test_columns_are_whole_blocks(name):
    """What a rank has of packed rows unpacks to its columns of the whole."""
    kind = FORMATS[name]
    blocks = 4 * 512 // kind.block_size
    stored = torch.randint(0, 60, (blocks * kind.block_bytes,), dtype=torch.uint8)
    tensor = TensorInfo("w", (4, 512), name, len(stored))
    source = Source(tensor, Part(1, 3), columns=Columns(256, 512, kind.block_size))
    whole = kind.unpack(stored.view(4, -1))

    assert torch.equal(kind.unpack(source.rows(stored)), whole[1:3, 256:])
    assert source.nbytes == len(stored) // 4


def test_columns_take_their_scales_along():
    """One for each block, though the last block of a row is short."""
    source = Source(TensorInfo("w", (3, 200), "FP8_BLOCK", 600), columns=Columns(128, 200, 128))
    codes = torch.from_numpy(np.arange(600) % 251).byte()
    scales = torch.arange(6.0).view(3, 2)

    assert torch.equal(source.rows(codes), codes.view(3, 200)[:, 128:])
    assert torch.equal(source.scales(scales), scales[:, 1:])
