"""The benchmark of GPUs at work, on a device that is none: that it runs, not what it says."""

import time

import gpu
import pytest

from fake_device import FakeDevice

NAMES = ["llama-tiny-q4_k_m", "llama-tiny-bf16"]


@pytest.fixture
def bench(tmp_path) -> gpu.Bench:
    return gpu.Bench(FakeDevice(), tmp_path, time.monotonic() + 100)


def test_the_machine_is_measured(bench):
    gpu.limits(bench, num_bytes=2**20, side=64)
    gpu.copies(bench, sizes=(1,))

    assert bench.limit_gbs > 0
    assert bench.tables["copy"][0]["pinned_gbs"] == bench.pinned_gbs > 0
    assert len(bench.tables["pin"]) == 2


def test_models_are_decoded_with_and_swapped(bench):
    """Rates and seconds of each, and not one byte is left over by swaps."""
    bench.limit_gbs = bench.pinned_gbs = 1.0
    gpu.decode(bench, NAMES[0], prompts=(40,), batches=((1, 8), (2, 8)), steps=(2, 4))
    gpu.swap(bench, NAMES, times=2, rest_seconds=0.1)

    assert [row["tokens/s"] > 0 for row in bench.tables["decode"]] == [True, True]
    assert bench.tables["decode"][0]["limit"] > 0
    *swaps, left = bench.tables["swap"]
    assert [row["model"] for row in swaps] == NAMES
    assert left == {"left_bytes": 0}


@pytest.mark.parametrize(
    "name",
    [
        "llama-tiny-fp8",
        *(pytest.param(each, marks=pytest.mark.slow) for each in (*NAMES, "qwen3-tiny-q4_k_m")),
        pytest.param("gpt-oss-tiny-mxfp4", marks=pytest.mark.slow),
    ],
)
def test_every_made_model_generates(bench, name):
    bench.limit_gbs = 1.0
    gpu.decode(bench, name, prompts=(), batches=((1, 8),), steps=(2,))

    assert bench.tables["loaded"][0]["gb"] > 0
    assert bench.tables["decode"][0]["tokens/s"] > 0


def test_the_peer_is_asked_for_the_same(bench):
    """A batch of a tiny model, by transformers."""
    shape = gpu.LLAMA_8B | {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    shape |= {"num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 512}

    gpu.peer(bench, shape, batches=(2,), tokens=(2, 12))

    assert bench.tables["transformers"][0]["batch"] == 2
