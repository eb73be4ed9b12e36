"""What a checkpoint is and what it will take, from its headers alone."""

from collections.abc import Iterable, Sequence

import msgspec
import torch

from engine.api import Footprint, Form, ModelCard
from engine.cache.spec import CacheSpec, KVDType, stored
from engine.checkpoint import Checkpoint, SafetensorsCheckpoint
from engine.kernels.cpu.compiler import program_bytes
from engine.kernels.cpu.library import is_available
from engine.kernels.cpu.values import NUM_LOGITS, NUM_TOKENS
from engine.kernels.reference import UNPACK_ELEMENTS
from engine.kernels.reference_attention import GATHER_TOKENS, SCORES_BYTES
from engine.kernels.trace import Tape
from engine.models.blueprint import Blueprint, blueprint, part_of
from engine.models.file_types import quantization
from engine.models.known_names import MATRYOSHKA, is_named
from engine.models.limits import DEVICE, HOST, StepLimits
from engine.models.meta import BaseConfig, Config
from engine.models.planes import UNIT, planes_weights_bytes
from engine.models.pooling import hf_prompts
from engine.models.shards import Indivisible, Shard
from engine.models.tiling import tiled_weights_bytes
from engine.nn.model import Model
from engine.nn.module import Matrix
from engine.nn.recording import record

MAX_STATES = 32
"""States that workspace is counted for: no more sequences step together."""

SCAN_COPIES = 6
"""Of a step's states, those read and those to be written among them: 4 to 6 were measured."""

MAX_THREADS = 16
"""So many threads draw tokens at once, each with weights for a vocabulary."""

OPERATION_BYTES = 16 * 2**20
"""For what attention and scans keep of a step while they run."""

DEVICE_WORKSPACE_BYTES = 256 * 2**20
"""Of a GPU's memory, what every model counts at least for what it computes with: activations, graphs.
So much is kept out of what weights and caches are given, and whatever is placed there fits."""

CACHE_UNITS = 2
"""Of a GPU's memory, so many more than a cache's bytes at most: gaps, and the last unit."""

_F32 = torch.float32.itemsize


def describe(
    checkpoint: Checkpoint,
    dtype: torch.dtype,
    native: bool | None = None,
    kv_dtype: KVDType = "auto",
    *,
    kinds: Sequence[str] = ("cpu",),
    device_dtype: torch.dtype = torch.bfloat16,
) -> ModelCard:
    """The card of a checkpoint whose model would compute in `dtype`.

    native: whether as a native program; wherever it can, by default. kinds: of the devices that it
    may go to, as torch calls them, those to be preferred first; on all but the CPU it would compute in
    `device_dtype`. Weights and cache are exact, workspace is an upper estimate. Raises
    `CheckpointError` for a checkpoint that could not be loaded.
    """
    plan = blueprint(checkpoint)
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
        tasks=(plan.model.traits.task,),
        embedding_size=plan.model.result_size if plan.model.traits.task == "embedding" else 0,
        is_matryoshka=plan.config.is_matryoshka
        or bool(plan.config.matryoshka_dimensions)
        or is_named(checkpoint, *MATRYOSHKA),
        prompts=hf_prompts(checkpoint) if isinstance(checkpoint, SafetensorsCheckpoint) else {},
        footprints=tuple(
            footprint
            for kind in kinds
            for footprint in (
                _footprints(plan, dtype, native, kv_dtype)
                if kind == "cpu"
                else _device_footprints(plan, device_dtype, kv_dtype, kind)
            )
        ),
    )


def _device_footprints(
    plan: Blueprint, dtype: torch.dtype, kv_dtype: KVDType, kind: str
) -> tuple[Footprint, ...]:
    return (msgspec.structs.replace(_footprint(plan, "planes", dtype, kv_dtype), kind=kind),)


def _footprints(
    plan: Blueprint, dtype: torch.dtype, native: bool | None, kv_dtype: KVDType
) -> tuple[Footprint, ...]:
    """Tiled, where native kernels run it; else dense, and packed only where that is smaller."""
    if native is None:
        native = runs_natively(dtype, kv_dtype)
    if native:
        return (_footprint(plan, "tiled", dtype, kv_dtype),)
    dense, packed = (_footprint(plan, form, dtype, kv_dtype) for form in ("dense", "packed"))
    return (dense, packed) if packed.weights_bytes < dense.weights_bytes else (dense,)


def runs_natively(dtype: torch.dtype, kv_dtype: KVDType = "auto") -> bool:
    """Whether models that compute in `dtype` run as native programs.

    float32 is for exact results: native kernels round the activations of quantised matrices. None of
    them reads fp8.
    """
    return dtype == torch.bfloat16 and kv_dtype != "fp8" and is_available()


def _footprint(plan: Blueprint, form: Form, dtype: torch.dtype, kv_dtype: KVDType) -> Footprint:
    if form == "tiled":
        workspace_bytes = _program_bytes(plan, dtype)
    elif form == "planes":
        workspace_bytes = device_workspace_bytes(plan, dtype)
    else:
        workspace_bytes = _workspace_bytes(plan, form, dtype)
    alone = _kept_bytes(plan, form, dtype, kv_dtype)
    try:
        half = _kept_bytes(part_of(plan, Shard(0, 2)), form, dtype, kv_dtype)
    except Indivisible:
        half = alone
    # the first of two has half of what can be divided, or a little more
    weights, kv, state = (2 * part - whole for part, whole in zip(half, alone, strict=True))
    return Footprint(
        form=form,
        weights_bytes=alone[0],
        kv_bytes_per_token=alone[1],
        workspace_bytes=workspace_bytes,
        state_bytes_per_sequence=alone[2],
        whole_weights_bytes=max(0, weights),
        whole_kv_bytes_per_token=max(0, kv),
        whole_state_bytes=max(0, state),
    )


def _kept_bytes(
    plan: Blueprint, form: Form, dtype: torch.dtype, kv_dtype: KVDType
) -> tuple[int, int, int]:
    """Of weights, of a token, and of a sequence."""
    specs = [stored(spec, kv_dtype) for spec in plan.model.cache_specs]
    if form == "tiled":
        weights_bytes = tiled_weights_bytes(plan, dtype)
    elif form == "planes":
        weights_bytes = planes_weights_bytes(plan, dtype)
    else:
        weights_bytes = sum(binding.nbytes(form, dtype) for binding in plan.bindings)
    return (
        weights_bytes,
        sum(spec.bytes_per_token(dtype.itemsize) for spec in specs),
        sum(spec.bytes_per_sequence for spec in specs),
    )


def tape_of(model: Model, dtype: torch.dtype) -> Tape:
    """The forward of a model that is built and not loaded; its parameters are overwritten."""
    return record(model, NUM_TOKENS, dtype, NUM_LOGITS)


def _program_bytes(plan: Blueprint, dtype: torch.dtype) -> int:
    """Of a program: its values, exactly, and what operations use while they run, at most."""
    values = program_bytes(tape_of(plan.model, dtype), step_rows(plan.model), HOST.logit_rows)
    return values + operation_bytes(plan)


def step_rows(model: Model, limits: StepLimits = HOST) -> int:
    """Rows that a forward may get: at least a whole text, of a model that reads it at once."""
    return max(limits.rows, model.traits.max_whole_tokens or 0)


def operation_bytes(plan: Blueprint) -> int:
    """What a program's operations and the choice of tokens use while they run, at most.

    It is taken when it is first needed, so it can't be measured when a model has been loaded.
    """
    matrices = _matrices(plan)
    widest = max((each.in_features for each in matrices), default=plan.config.hidden_size)
    top_k = max(getattr(plan.config, "num_experts_per_tok", 0) or 0, 1)
    activations = step_rows(plan.model) * top_k * widest * 2 * _F32
    drawn = plan.config.vocab_size * _F32 * MAX_THREADS
    return activations + drawn + OPERATION_BYTES


def device_workspace_bytes(plan: Blueprint, dtype: torch.dtype) -> int:
    """On a GPU: activations, logits, one layer's scan, a matrix unpacked, and what rounding takes.

    At least `DEVICE_WORKSPACE_BYTES`, which no model can have for its weights and caches.
    """
    unpacked = max((each.out_features * each.in_features for each in _matrices(plan)), default=0)
    mixed = _scan_bytes(plan.model.cache_specs)
    needed = _activation_bytes(plan, dtype, DEVICE) + mixed + unpacked * dtype.itemsize
    return max(needed, DEVICE_WORKSPACE_BYTES) + CACHE_UNITS * UNIT


def _workspace_bytes(plan: Blueprint, form: Form, dtype: torch.dtype) -> int:
    """Of the reference kernels: activations, logits, one layer's mixer, unpacked weights."""
    c = plan.config
    unpacked = 0
    if form == "packed":
        widest = max((each.out_features for each in _matrices(plan)), default=0)
        rows = max(c.vocab_size, widest) * c.hidden_size
        unpacked = min(UNPACK_ELEMENTS, rows) * (dtype.itemsize + _F32)
    # a layer attends, or scans, or does one after the other
    mixed = max(_attention_bytes(plan, dtype), _scan_bytes(plan.model.cache_specs))
    return _activation_bytes(plan, dtype, HOST) + mixed + unpacked


def _activation_bytes(plan: Blueprint, dtype: torch.dtype, limits: StepLimits) -> int:
    """Of a step's rows, and of its logits."""
    c = plan.config
    wide = dtype.itemsize + _F32
    matrices = _matrices(plan)
    widest = max((each.out_features for each in matrices), default=0)
    per_row = 4 * c.hidden_size + 3 * widest + _attended_values(c) + _routed_values(c, matrices)
    logits = limits.logit_rows * plan.model.result_size * (wide + _F32)
    return step_rows(plan.model, limits) * per_row * wide + logits


def _attention_bytes(plan: Blueprint, dtype: torch.dtype) -> int:
    """What one layer gathers of the cache, and its scores."""
    c = plan.config
    if not isinstance(c, Config):
        return 0
    gathered = min(c.max_position_embeddings, GATHER_TOKENS)
    values_per_token = max((spec.bytes_per_token(1) for spec in plan.model.cache_specs), default=0)
    scores = min(SCORES_BYTES, step_rows(plan.model) * c.num_attention_heads * gathered * _F32)
    return gathered * values_per_token * (dtype.itemsize + 2 * _F32) + 3 * scores


def _scan_bytes(specs: Sequence[CacheSpec]) -> int:
    """Of one layer: the states of all sequences that step together, each a few times.

    Chunked scans take less: they have fewer rows at a time than there are such sequences, and at
    most a state for each.
    """
    return SCAN_COPIES * MAX_STATES * max((spec.bytes_per_sequence for spec in specs), default=0)


def _attended_values(c: BaseConfig) -> int:
    """Queries, keys and values of one row."""
    if not isinstance(c, Config):
        return 0
    return 2 * (c.num_attention_heads + 2 * c.num_key_value_heads) * c.head_dim


def _routed_values(c: BaseConfig, matrices: Iterable[Matrix]) -> int:
    """What a row's experts take in and make."""
    top_k: int = getattr(c, "num_experts_per_tok", 0)  # as all configs with experts call it
    sizes = (each.in_features + each.out_features for each in matrices if each.count)
    return 3 * top_k * max(sizes, default=0)


def _matrices(plan: Blueprint) -> list[Matrix]:
    """All but the embedding and the head, which are counted by what they make."""
    slots = (binding.parameter.slot for binding in plan.bindings)
    matrices = (slot for slot in slots if isinstance(slot, Matrix))
    return [each for each in matrices if each.out_features != plan.config.vocab_size]
