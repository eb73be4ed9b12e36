"""Bounded readers of GGUF and safetensors: headers without trust, tensors without a copy."""

from engine.checkpoint.checkpoint import Checkpoint, TensorInfo
from engine.checkpoint.errors import CheckpointError
from engine.checkpoint.gguf import GGUFCheckpoint
from engine.checkpoint.opening import open_checkpoint
from engine.checkpoint.safetensors import SafetensorsCheckpoint

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "GGUFCheckpoint",
    "SafetensorsCheckpoint",
    "TensorInfo",
    "open_checkpoint",
]
