"""The sequences that run on one worker, and the streams that they belong to."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from engine.api import Delta, Failure, Run, Sampling
from engine.text.prompts import PreparedPrompt
from engine.text.vectors import VectorWriter
from engine.text.writer import Writer
from engine.wire import Constrain, Output, Start

log = structlog.get_logger()

StreamDeltas = list[tuple[int, Delta]]


@dataclass(frozen=True, slots=True)
class _Live:
    stream: int
    index: int
    writer: Writer | VectorWriter


@dataclass(slots=True)
class Generations:
    """Outputs in, deltas out. Ids of sequences are never used again."""

    _live: dict[int, _Live] = field(default_factory=dict)
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def start(
        self,
        stream: int,
        handle: int,
        run: Run,
        prompt: PreparedPrompt,
        grammar: Constrain | None = None,
        *,
        predicted_ids: Sequence[int] = (),
    ) -> Start:
        """Enters a sequence; returns what to tell the worker."""
        generation = run.generation
        sequence = next(self._numbers)
        self._live[sequence] = _Live(stream, run.index, Writer(prompt, run))
        ends = prompt.tokenizer.stop_ids | prompt.end_ids
        own = frozenset() if generation.ignore_eos else ends
        return Start(
            sequence=sequence,
            handle=handle,
            token_ids=prompt.token_ids,
            max_tokens=generation.max_tokens,
            min_tokens=generation.min_tokens,
            stop_token_ids=sorted(own.union(generation.stop_token_ids)),
            sampling=generation.sampling,
            barred_token_ids=sorted(prompt.tokenizer.barred_ids),
            grammar=grammar,
            predicted_token_ids=list(predicted_ids),
            salt=run.salt,
        )

    def embed(
        self, stream: int, handle: int, index: int, prompt: PreparedPrompt, salt: str = ""
    ) -> Start:
        """Enters a sequence that is embedded or scored; returns what to tell the worker."""
        sequence = next(self._numbers)
        writer = VectorWriter(index, len(prompt.token_ids))
        self._live[sequence] = _Live(stream, index, writer)
        return Start(
            sequence=sequence,
            handle=handle,
            token_ids=prompt.token_ids,
            max_tokens=1,
            min_tokens=0,
            stop_token_ids=[],
            sampling=Sampling(),
            wants_vector=True,
            first_length=prompt.first_length,
            salt=salt,
        )

    def step(self, outputs: list[Output]) -> tuple[StreamDeltas, list[int]]:
        """What one step of the worker adds to its streams, and which sequences it is to stop."""
        deltas: StreamDeltas = []
        stops = []
        for output in outputs:
            live = self._live.get(output.sequence)
            if live is None:
                continue  # stopped or cancelled while the worker was at it
            delta, is_stopped = _write(live, output)
            if delta is None:
                continue
            deltas.append((live.stream, delta))
            if delta.finish_reason or delta.failure:
                del self._live[output.sequence]
            if is_stopped:
                stops.append(output.sequence)
        return deltas, stops

    def cancel(self, stream: int) -> list[int]:
        """Forgets a stream; returns the sequences that the worker is to stop."""
        sequences = [number for number, live in self._live.items() if live.stream == stream]
        for sequence in sequences:
            del self._live[sequence]
        return sequences

    def fail_all(self, failure: Failure) -> StreamDeltas:
        """Ends every sequence."""
        live, self._live = self._live, {}
        return [(entry.stream, Delta(entry.index, failure=failure)) for entry in live.values()]


def _write(live: _Live, output: Output) -> tuple[Delta | None, bool]:
    try:
        return live.writer.write(output)
    except Exception:  # a bug in one sequence's text must not end everybody's
        log.exception("sequence_text_failed", stream=live.stream, index=live.index)
        failure = Failure("internal", "the text of this sequence could not be written")
        return Delta(live.index, failure=failure), True
