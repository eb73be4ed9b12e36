"""Models that other OpenAI-compatible servers serve. DESIGN.md beside this says how and why."""

from gateway.upstreams.failures import UpstreamFailure
from gateway.upstreams.upstreams import Upstreams

__all__ = ["UpstreamFailure", "Upstreams"]
