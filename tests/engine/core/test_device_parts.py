"""Parts of models on devices: the weights are the rank's, and ranks together say what the whole does."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from engine.cache.views import CacheView
from engine.core.device_model import DeviceModel
from engine.core.device_weights import DeviceWeights
from engine.kernels.batch import ForwardBatch
from engine.kernels.group import Group
from engine.models.shards import Shard
from engine.nn.module import join
from engine.residency.arena import Arena
from engine.residency.image_store import ImageStore
from engine.residency.ring import PinnedRing
from tests.engine.batches import logprobs_of
from tests.engine.fixture_models import COMMITTED
from tests.engine.meeting import Meeting
from tests.support.fake_device import FakeDevice

PROMPT = list(range(5, 40))
FAR = 1e-4


class Part:
    """A rank's, as `logprobs_of` takes models: what the device owes is done before it is read."""

    def __init__(self, path: Path, shard: Shard, meeting: Meeting) -> None:
        self._device = FakeDevice()
        weights = DeviceWeights(
            *(Arena(self._device, 2**27), PinnedRing(self._device)),
            *(torch.float32, ImageStore(None), 0),
        )
        self._opened = weights.open(path, "planes", shard=shard)
        self._group, self._weights = meeting.group(shard.rank), weights
        join(self._opened.model, Group(self._sum))
        self.cache_specs = self._opened.model.cache_specs

    def forward(self, batch: ForwardBatch, caches: Sequence[CacheView]) -> Tensor:
        opened = self._opened
        assert opened.tape is not None
        model = DeviceModel(opened.model, opened.tape, caches, opened.arrivals, self._device)
        result = model.forward(batch, caches)
        self._device.compute_stream().synchronise()
        return result.clone()

    def _sum(self, x: Tensor) -> Tensor:
        self._device.compute_stream().synchronise()  # as NCCL does in its place in the stream
        assert self._group.sum is not None
        return self._group.sum(x)


@pytest.mark.parametrize(
    "path", ["llama-q/llama-q-Q8_0.gguf", "gptoss-mxfp4/hf", "deepseek2-lite/hf"]
)
def test_two_devices_compute_what_one_model_says(path, load_model):
    """From images of their own, of quantised rows and columns as a GPU's kernels read them."""
    expected = logprobs_of(load_model(COMMITTED / path, "dense", torch.float32), PROMPT)
    meeting = Meeting(2)
    parts = [Part(COMMITTED / path, Shard(rank, 2), meeting) for rank in range(2)]
    found = meeting.together([partial(logprobs_of, part, PROMPT) for part in parts])

    assert all((logprobs - expected).abs().max() <= FAR for logprobs in found)
