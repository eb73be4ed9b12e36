"""The engine as a library: one model, in this process, no gateway."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import torch

from engine.api import DType, EngineError, Form, Generation, KVDType
from engine.core.admission import sequence_of
from engine.core.device import compute_dtype, device_dtype, num_threads
from engine.core.opening import STATE_SLOTS, open_resident
from engine.core.pacing import ALONE_SECONDS
from engine.core.resident import Resident
from engine.devices import Accelerator
from engine.kernels.triton import install as triton
from engine.models.card import runs_natively
from engine.wire import Output, Start


class LocalModel:
    """A checkpoint that generates token ids.

    >>> model = LocalModel.open(Path("model.gguf"), dtype="float32")
    >>> for output in model.generate([1, 2, 3], Generation(max_tokens=16)):
    ...     print(output.token_ids)
    """

    def __init__(self, resident: Resident) -> None:
        self._resident = resident

    @classmethod
    def open(
        cls,
        path: Path,
        dtype: DType = "auto",
        form: Form | None = None,
        kv_tokens: int | None = None,
        state_slots: int = STATE_SLOTS,
        *,
        kv_dtype: KVDType = "auto",
        speculate: int = 0,
        device: Accelerator | None = None,
    ) -> Self:
        """Loads a checkpoint; raises `EngineError` bad_checkpoint for one that cannot be.

        form: by default tiled, where native kernels run it, else dense. kv_tokens: size of the cache, by default the model's whole context. state_slots: of a
        recurrent model, how many states it keeps, of sequences that run and for reuse. kv_dtype: what
        keys and values are kept in. speculate: how many tokens a sequence guesses ahead at most, from
        what it has said before; an output then has several tokens where guesses were right. device:
        None for the CPU; on others the only form is "planes".
        """
        torch.set_num_threads(num_threads())
        computed = compute_dtype(dtype) if device is None else device_dtype(dtype)
        if device is not None and device.device.type == "cuda" and triton.is_available():
            triton.install()
        if device is not None:
            form = "planes"
        form = form or ("tiled" if runs_natively(computed, kv_dtype) else "dense")
        resident, _ = open_resident(
            path,
            form,
            computed,
            kv_tokens,
            state_slots,
            kv_dtype=kv_dtype,
            speculate=speculate,
            accelerator=device,
        )
        return cls(resident)

    def generate(self, token_ids: Sequence[int], generation: Generation) -> Iterator[Output]:
        """What each step adds, until the sequence ends. See `batch`."""
        yield from self.batch([(token_ids, generation)])

    def batch(self, runs: Sequence[tuple[Sequence[int], Generation]]) -> Iterator[Output]:
        """Runs prompts together; `Output.sequence` is the place in `runs`.

        Only the generation's `stop_token_ids` end a sequence early: texts and the tokenizer's own
        end are not known here. Raises `EngineError` for what cannot run. Closing the iterator ends
        what is left.
        """
        scheduler = self._resident.scheduler
        sequences = [
            sequence_of(_start(number, *run), self, self._resident.vocab_size)
            for number, run in enumerate(runs)
        ]
        try:
            for sequence in sequences:
                scheduler.add(sequence)
            while not self._resident.is_idle:
                for _, output in self._resident.step(ALONE_SECONDS, ahead=True):
                    if output.failure:
                        raise output.failure.error()
                    yield output
        finally:
            for sequence in sequences:
                scheduler.remove(sequence)


def _start(number: int, token_ids: Sequence[int], generation: Generation) -> Start:
    if generation.grammar is not None:
        raise EngineError("bad_request", "a grammar needs the text process", "grammar")
    return Start(
        sequence=number,
        handle=0,
        token_ids=list(token_ids),
        max_tokens=generation.max_tokens,
        min_tokens=generation.min_tokens,
        stop_token_ids=list(generation.stop_token_ids),
        sampling=generation.sampling,
    )
