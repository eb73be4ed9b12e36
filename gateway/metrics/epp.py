"""What an endpoint picker reads: one series a family, over all models.

Pickers take the first series that they find and no other (getLatestMetric of the endpoint picker of
Gateway API's inference extension), which of several models would be any one.
"""

from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from gateway.metrics.names import KV_USAGE, RUNNING, WAITING
from gateway.metrics.standing import Standing


class Aggregated:
    """A collector: requests together, and caches as if they were one."""

    def __init__(self, standings: Callable[[], dict[str, Standing]]) -> None:
        self._standings = standings

    def collect(self) -> Iterator[Metric]:
        found = self._standings().values()
        num_blocks = sum(each.num_blocks for each in found)
        used = num_blocks - sum(each.free_blocks for each in found)
        yield _gauge(RUNNING.vllm[0], RUNNING.help, sum(each.running for each in found))
        yield _gauge(WAITING.vllm[0], WAITING.help, sum(each.waiting for each in found))
        yield _gauge(KV_USAGE.vllm[0], KV_USAGE.help, used / num_blocks if num_blocks else 0.0)
        block_size = max((each.block_size for each in found), default=0)
        config = GaugeMetricFamily(
            "vllm:cache_config_info",
            "1; how large the caches are together.",
            labels=("block_size", "num_gpu_blocks"),
        )
        config.add_metric((str(block_size), str(num_blocks)), 1)
        yield config


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)
