"""RWKV in every layout, against the published equations run row by row in float64."""

import re
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from torch import Tensor

from engine.checkpoint import CheckpointError, open_checkpoint
from engine.models import rwkv6, rwkv7
from engine.models.blueprint import blueprint
from engine.residency.loader import load
from tests.engine.batches import Sequences, logprobs_of
from tests.engine.fixture_models import add_key, write_hf
from tests.engine.made_models import PROMPT
from tests.engine.rwkv_models import (
    CONFIG6,
    CONFIG7,
    FFN,
    HEAD,
    HIDDEN,
    LAYERS,
    RANKS,
    Plain6,
    Plain7,
    Tensors,
    make,
    shapes6,
    shapes7,
)

TENSORS6, TENSORS7 = make(shapes6()), make(shapes7())


def loaded(path: Path) -> Any:
    with open_checkpoint(path) as checkpoint:
        return load(checkpoint, "dense", torch.float32, lambda _: None, lambda: False)


def assert_same(path: Path, expected: Tensor) -> None:
    """At once, and cut into chunks of all kinds."""
    model = loaded(path)
    sequences = Sequences(model, 1, len(PROMPT))
    chunks = PROMPT[:1], PROMPT[1:9], PROMPT[9:10], PROMPT[10:]
    parts = [sequences.step({0: chunk})[0] for chunk in chunks]

    for found in (logprobs_of(model, PROMPT), torch.cat(parts)):
        assert torch.allclose(found.double(), expected, rtol=0, atol=1e-3)


def test_rwkv6_is_as_published(tmp_path):
    """The names and transposed matrices that its checkpoints have; their rescaling changes nothing."""
    assert_same(write_hf(tmp_path, CONFIG6, TENSORS6), Plain6(TENSORS6).logprobs(PROMPT))


def test_rwkv7_is_as_published(tmp_path):
    """The names of flash-linear-attention."""
    assert_same(write_hf(tmp_path, CONFIG7, TENSORS7), Plain7(TENSORS7).logprobs(PROMPT))


def without(tensors: Tensors, pattern: str) -> Tensors:
    return {name: each for name, each in tensors.items() if not re.search(pattern, name)}


def test_rwkv7_may_have_no_gate(tmp_path):
    """A rank of 0 says so."""
    tensors = without(TENSORS7, r"x_g|g_lora")
    path = write_hf(tmp_path, CONFIG7 | {"gate_low_rank_dim": 0}, tensors)

    assert_same(path, Plain7(tensors).logprobs(PROMPT))


def test_rwkv7_may_have_no_norm_before_its_layers(tmp_path):
    """As norm_first says."""
    tensors = without(TENSORS7, "pre_norm")
    path = write_hf(tmp_path, CONFIG7 | {"norm_first": False}, tensors)

    assert_same(path, Plain7(tensors).logprobs(PROMPT))


ORIGINAL = (
    (r"^model\.embeddings", "emb"),
    (r"^lm_head", "head"),
    (r"^model\.norm", "ln_out"),
    (r"^model\.layers", "blocks"),
    ("pre_norm", "ln0"),
    ("attn_norm", "ln1"),
    ("ffn_norm", "ln2"),
    (r"\.attn\.", ".att."),
    ("g_norm", "ln_x"),
    (r"([wavg])_lora\.lora\.0\.weight", r"\g<1>1"),
    (r"([wavg])_lora\.lora\.2\.weight", r"\g<1>2"),
    (r"([wavg])_lora\.lora\.2\.bias", r"\g<1>0"),
    ("r_proj", "receptance"),
    ("k_proj", "key"),
    ("v_proj", "value"),
    ("o_proj", "output"),
)


def original(tensors: Tensors) -> Tensors:
    """In the layout of training: other names, matrices of low rank the other way round."""
    found = {}
    for name, tensor in tensors.items():
        new = name
        for pattern, word in ORIGINAL:
            new = re.sub(pattern, word, new)
        found[new] = tensor.T if re.search(r"att\.[wavg][12]$", new) else tensor
    # The first layer has no values to mix with, but the tensors for it.
    dummies = {f"blocks.0.att.v{index}": torch.zeros(1) for index in range(3)}
    return found | dummies


def test_rwkv7_may_be_laid_out_as_it_was_trained(tmp_path):
    """The names of its author's own files, under the keys that these have."""
    config = {key: CONFIG7[key] for key in ("vocab_size", "hidden_size", "intermediate_size")}
    config |= {"architectures": ["Rwkv7ForCausalLM"], "num_hidden_layers": LAYERS}
    config |= {"head_size": HEAD, "layer_norm_epsilon": 1e-5}
    words = {"w": "decay", "a": "iclr", "v": "value_residual_mix", "g": "gate"}
    config |= {f"lora_rank_{word}": RANKS[name] for name, word in words.items()}
    path = write_hf(tmp_path, config, original(TENSORS7))

    assert_same(path, Plain7(TENSORS7).logprobs(PROMPT))


GGUF_WORDS = (
    (r"rwkv\.blocks\.0\.pre_ln", "token_embd_norm"),
    (r"rwkv\.embeddings", "token_embd"),
    (r"rwkv\.ln_out", "output_norm"),
    (r"^head", "output"),
    (r"rwkv\.blocks", "blk"),
    (r"\.ln1\.", ".attn_norm."),
    (r"\.ln2\.", ".attn_norm_2."),
    (r"attention\.time_maa_(w\d)", r"time_mix_\1.weight"),
    (r"attention\.time_maa_(.)", r"time_mix_lerp_\1.weight"),
    (r"attention\.time_decay(\w*)", r"time_mix_decay\1.weight"),
    (r"attention\.time_faaaa", "time_mix_first.weight"),
    (r"attention\.ln_x", "time_mix_ln"),
    (r"attention\.", "time_mix_"),
    (r"feed_forward\.time_maa_(.)", r"channel_mix_lerp_\1.weight"),
    (r"feed_forward\.", "channel_mix_"),
)


def write_gguf6(path: Path, rescale_every: int) -> Path:
    """As llama.cpp's converter does, from before it stacked what rows are mixed by."""
    writer = gguf.GGUFWriter(path, "rwkv6")
    facts = {
        "context_length": 2**20,
        "embedding_length": HIDDEN,
        "block_count": LAYERS,
        "feed_forward_length": FFN,
        "attention.layer_norm_epsilon": 1e-5,
        "wkv.head_size": HEAD,
        "time_mix_extra_dim": 5,
        "time_decay_extra_dim": 6,
        "rescale_every_n_layers": rescale_every,
        "attention.head_count": 0,
    }
    for key, value in facts.items():
        add_key(writer, f"rwkv6.{key}", value)
    for name, tensor in TENSORS6.items():
        new, stored = name, tensor.squeeze()
        for pattern, word in GGUF_WORDS:
            new = re.sub(pattern, word, new)
        if re.search(r"_w[12]$", name):
            stored = stored.mT
        if re.search(r"attention\.output|feed_forward\.value", name):
            layer = int(name.split(".")[2])
            stored = stored / 2 ** (layer // rescale_every)
        writer.add_tensor(new, stored.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("every", [1, 2, 6])
def test_rescaled_gguf_files_are_the_same_model(every, tmp_path):
    """What their weights were divided by, layer by layer, is undone."""
    path = write_gguf6(tmp_path / "model.gguf", every)

    assert_same(path, Plain6(TENSORS6).logprobs(PROMPT))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"attn": {"layers": [1]}}, "attn"),
        ({"value_dim": [HIDDEN, 2 * HIDDEN]}, "value_dim"),
        ({"head_dim": 5}, "not a multiple"),
        ({"hidden_act": "relu"}, "hidden_act"),
        ({"norm_bias": False}, "norm_bias"),
        ({"gate_low_rank_dim": 9}, "g_lora"),
    ],
)
def test_what_we_do_not_do_is_refused(change, why, tmp_path):
    """By the name of what is at fault."""
    path = write_hf(tmp_path, CONFIG7 | change, TENSORS7)

    with open_checkpoint(path) as checkpoint, pytest.raises(CheckpointError, match=why):
        blueprint(checkpoint)


def test_sizes_left_out_are_those_of_the_released_models():
    """By rules of the hidden size: here those of 0.1B."""
    sizes = {"vocab_size": 65536, "hidden_size": 768, "num_hidden_layers": 12}
    sixth, seventh = rwkv6.Config(**sizes), rwkv7.Config(**sizes)

    assert (sixth.intermediate_size, seventh.intermediate_size) == (2688, 3072)
    assert (sixth.time_mix_extra_dim, sixth.time_decay_extra_dim) == (32, 64)
    assert (seventh.decay_low_rank_dim, seventh.a_low_rank_dim) == (64, 64)
    assert (seventh.v_low_rank_dim, seventh.gate_low_rank_dim) == (32, 128)
