"""The seam between gateway and engine: what each may say to the other.

Data (msgspec structs) and Protocols only; no torch, no I/O. `engine.client` answers `Engine` with
real processes; the gateway's tests answer it with a fake.
"""

from engine.api.engine import Engine
from engine.api.errors import EngineError, ErrorCode, Failure
from engine.api.models import (
    Capability,
    Device,
    Footprint,
    Form,
    HostMemory,
    ImageCache,
    LoadOrder,
    LoadReport,
    ModelCard,
    Task,
    Tier,
)
from engine.api.replies import (
    Delta,
    DeviceStats,
    EngineStatus,
    FinishReason,
    TokenLogprob,
    ToolCallDelta,
    TopLogprob,
    Usage,
)
from engine.api.requests import (
    ChatPrompt,
    FillPrompt,
    Generation,
    Grammar,
    PairPrompt,
    Prepared,
    Prompt,
    Run,
    Sampling,
    Snippet,
    Spelling,
    TextPrompt,
    TextSource,
    TokenPrompt,
    ToolChoice,
)

__all__ = [
    "Capability",
    "ChatPrompt",
    "Delta",
    "Device",
    "DeviceStats",
    "Engine",
    "EngineError",
    "EngineStatus",
    "ErrorCode",
    "Failure",
    "FillPrompt",
    "FinishReason",
    "Footprint",
    "Form",
    "Generation",
    "Grammar",
    "HostMemory",
    "ImageCache",
    "LoadOrder",
    "LoadReport",
    "ModelCard",
    "PairPrompt",
    "Prepared",
    "Prompt",
    "Run",
    "Sampling",
    "Snippet",
    "Spelling",
    "Task",
    "TextPrompt",
    "TextSource",
    "Tier",
    "TokenLogprob",
    "TokenPrompt",
    "ToolCallDelta",
    "ToolChoice",
    "TopLogprob",
    "Usage",
]
