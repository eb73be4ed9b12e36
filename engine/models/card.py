"""What a checkpoint is and what it will take, from its headers alone."""

from typing import Any

import torch

from engine.api import Footprint, Form, ModelCard
from engine.checkpoint import Checkpoint
from engine.kernels.reference import UNPACK_ELEMENTS
from engine.kernels.reference_attention import GATHER_TOKENS, SCORES_BYTES
from engine.models.blueprint import Blueprint, blueprint
from engine.models.file_types import quantization
from engine.nn.module import Matrix

MAX_STEP_ROWS = 512
"""Rows that workspace is counted for: a forward gets no more."""

MAX_LOGIT_ROWS = 64
"""Rows of logits that workspace is counted for: a forward is asked for no more at once."""

_F32 = torch.float32.itemsize


def describe(checkpoint: Checkpoint, dtype: torch.dtype) -> ModelCard:
    """The card of a checkpoint whose model would compute in `dtype`.

    Weights and cache are exact, workspace is an upper estimate. Dense comes first; packed only
    where it is smaller. Raises `CheckpointError` for a checkpoint that could not be loaded.
    """
    plan = blueprint(checkpoint)
    dense, packed = (_footprint(plan, form, dtype) for form in ("dense", "packed"))
    is_smaller = packed.weights_bytes < dense.weights_bytes
    return ModelCard(
        path=str(checkpoint.path),
        digest=checkpoint.digest,
        family=plan.family.name,
        format=checkpoint.format,
        quantization=quantization(checkpoint),
        num_parameters=sum(binding.num_parameters for binding in plan.bindings),
        file_bytes=checkpoint.file_bytes,
        context_length=plan.config.max_position_embeddings,
        vocab_size=plan.config.vocab_size,
        tasks=("completion",),
        footprints=(dense, packed) if is_smaller else (dense,),
    )


def _footprint(plan: Blueprint, form: Form, dtype: torch.dtype) -> Footprint:
    specs = plan.model.cache_specs
    return Footprint(
        form=form,
        weights_bytes=sum(binding.nbytes(form, dtype) for binding in plan.bindings),
        kv_bytes_per_token=sum(spec.bytes_per_token(dtype.itemsize) for spec in specs),
        workspace_bytes=_workspace_bytes(plan, form, dtype),
    )


def _workspace_bytes(plan: Blueprint, form: Form, dtype: torch.dtype) -> int:
    """Of the reference kernels: activations, logits, one layer's attention, unpacked weights."""
    c: Any = plan.config
    wide = dtype.itemsize + _F32
    per_row = 4 * c.hidden_size + 3 * _widest(plan)
    heads = getattr(c, "num_attention_heads", 0)
    if heads:
        per_row += 2 * (heads + 2 * c.num_key_value_heads) * c.head_dim
    expert_size = getattr(c, "moe_intermediate_size", 0) or getattr(c, "intermediate_size", 0)
    per_row += getattr(c, "num_experts_per_tok", 0) * (3 * c.hidden_size + 3 * expert_size)
    activations = MAX_STEP_ROWS * per_row * wide
    logits = MAX_LOGIT_ROWS * c.vocab_size * (wide + _F32)
    gathered = min(c.max_position_embeddings, GATHER_TOKENS)
    values_per_token = max(spec.bytes_per_token(1) for spec in plan.model.cache_specs)
    gathered_bytes = gathered * values_per_token * (wide + _F32)
    scores = min(SCORES_BYTES, MAX_STEP_ROWS * heads * gathered * _F32)
    unpacked = 0
    if form == "packed":
        rows = max(c.vocab_size, _widest(plan)) * c.hidden_size
        unpacked = min(UNPACK_ELEMENTS, rows) * wide
    return int(activations + logits + gathered_bytes + 3 * scores + unpacked)


def _widest(plan: Blueprint) -> int:
    """The most values that a matrix makes of one row; layers may differ. Heads count as logits."""
    slots = (binding.parameter.slot for binding in plan.bindings)
    sizes = (slot.out_features for slot in slots if isinstance(slot, Matrix))
    return max((size for size in sizes if size != plan.config.vocab_size), default=0)
