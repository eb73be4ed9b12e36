"""Vectors of token ids by everything that a worker runs a model with."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from engine.api import Form, Sampling
from engine.core.admission import refuse_misuse, sequence_of
from engine.core.opening import open_resident
from engine.core.resident import Resident
from engine.wire import Start


def resident_of(path: Path, form: Form = "dense", dtype: torch.dtype = torch.float32) -> Resident:
    resident, _ = open_resident(path, form, dtype, kv_tokens=None)
    return resident


def start(
    number: int,
    ids: Sequence[int],
    first_length: int | None = None,
    *,
    wants_vector: bool = True,
) -> Start:
    return Start(
        sequence=number,
        handle=0,
        token_ids=list(ids),
        max_tokens=1,
        min_tokens=0,
        stop_token_ids=[],
        sampling=Sampling(),
        wants_vector=wants_vector,
        first_length=first_length,
    )


def embed(
    resident: Resident, texts: Sequence[Sequence[int]], first_lengths: Sequence[int | None] = ()
) -> Tensor:
    """All at once: (len(texts), size). Raises what the worker would say."""
    lengths = first_lengths or [None] * len(texts)
    for number, (ids, length) in enumerate(zip(texts, lengths, strict=True)):
        begun = start(number, ids, length)
        refuse_misuse(begun, resident.sequences.traits)
        resident.scheduler.add(sequence_of(begun, None, resident.vocab_size))
    found: dict[int, Tensor] = {}
    while not resident.is_idle:
        for sequence, output in resident.step(1.0):
            assert output.failure is None, output.failure
            found[sequence.number] = torch.frombuffer(bytearray(output.vector), dtype=torch.float32)
    resident.scheduler.check()
    return torch.stack([found[number] for number in range(len(texts))])
