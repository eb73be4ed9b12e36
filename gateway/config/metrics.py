"""What Prometheus is told, and how it is called."""

from msgspec import Struct


class MetricsSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """vllm_names: what vLLM measures too is also there by its name, for dashboards made for it."""

    vllm_names: bool = True
