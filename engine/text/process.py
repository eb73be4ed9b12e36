"""The text process: a shell that carries out what it is told over one channel."""

import asyncio
import itertools
from collections.abc import Iterable
from functools import partial

import structlog

from engine.api import Delta, EngineError, Failure, Prepared, Run
from engine.channel import Channel
from engine.text.connection import WorkerConnection
from engine.text.constraints import constrain, is_constrained
from engine.text.generations import StreamDeltas
from engine.text.predictions import predicted_ids
from engine.text.prompts import PreparedPrompt, PromptReader
from engine.wire import (
    Attach,
    Cancel,
    Check,
    Checked,
    Deltas,
    Discard,
    Embed,
    Generate,
    Prepare,
    PrepareDone,
    Spell,
    Spelled,
    Stop,
    TextCommand,
    TextReady,
)

log = structlog.get_logger()


class TextProcess:
    """Prepares prompts for the gateway, and runs them on workers; ends when the gateway hangs up."""

    def __init__(self, channel: Channel[TextCommand], reader: PromptReader) -> None:
        self._channel = channel
        self._reader = reader
        self._tickets: dict[int, PreparedPrompt] = {}
        self._numbers = itertools.count(1)
        self._workers: dict[str, WorkerConnection] = {}
        self._preparing: set[asyncio.Task[None]] = set()
        self._constraining: dict[int, set[asyncio.Task[None]]] = {}

    async def run(self) -> None:
        """Serves until the end of the channel."""
        self._channel.send(TextReady())
        await self._channel.each(self._obey)
        for task in self._preparing:
            task.cancel()
        for worker in self._workers.values():
            worker.close()

    def _obey(self, command: TextCommand) -> None:
        match command:
            case Attach():
                self._attach(command)
            case Prepare():
                task = asyncio.create_task(self._prepare(command))
                self._preparing.add(task)
                task.add_done_callback(self._preparing.discard)
            case Check():
                task = asyncio.create_task(self._check(command))
                self._preparing.add(task)
                task.add_done_callback(self._preparing.discard)
            case Spell():
                self._spell(command)
            case Discard():
                for ticket in command.tickets:
                    self._tickets.pop(ticket, None)
            case Generate():
                self._generate(command)
            case Embed():
                self._embed(command)
            case Cancel():
                self._cancel(command.stream)

    def _attach(self, command: Attach) -> None:
        if (old := self._workers.get(command.device)) is not None:
            old.close()
        self._workers[command.device] = WorkerConnection(
            command.device, command.socket, self._send_deltas
        )

    async def _prepare(self, command: Prepare) -> None:
        try:
            prompt = await self._reader.prepare(command.source, command.prompt)
        except EngineError as error:
            failure = Failure(error.code, error.message, error.param)
            self._channel.send(PrepareDone(command.call, None, failure))
        except Exception:  # the caller waits for an answer, whatever went wrong
            log.exception("prepare_failed", path=command.source.path)
            failure = Failure("internal", "the prompt could not be prepared")
            self._channel.send(PrepareDone(command.call, None, failure))
        else:
            ticket = next(self._numbers)
            self._tickets[ticket] = prompt
            self._channel.send(PrepareDone(command.call, Prepared(ticket, prompt.token_ids)))

    async def _check(self, command: Check) -> None:
        failure = None
        try:
            await self._reader.check(command.source, command.grammar)
        except EngineError as error:
            failure = Failure(error.code, error.message, error.param)
        except Exception:  # the caller waits for an answer, whatever went wrong
            log.exception("check_failed", path=command.source.path)
            failure = Failure("internal", "the grammar could not be checked")
        self._channel.send(Checked(command.call, failure))

    def _spell(self, command: Spell) -> None:
        prompt = self._tickets.get(command.ticket)
        if prompt is None:
            failure = Failure("internal", f"there is no prompt with ticket {command.ticket}")
            self._channel.send(Spelled(command.call, None, failure))
        else:
            self._channel.send(Spelled(command.call, prompt.spelling))

    def _generate(self, command: Generate) -> None:
        worker = self._workers.get(command.device)
        if worker is None or worker.is_lost:
            failure = Failure("worker_lost", f"no worker of {command.device} is connected")
            self._fail(command.stream, command.runs, failure)
            return
        for run in command.runs:
            prompt = self._tickets.get(run.ticket)
            if prompt is None:
                failure = Failure("internal", f"there is no prompt with ticket {run.ticket}")
                self._fail(command.stream, [run], failure)
            elif is_constrained(prompt, run.generation) or run.generation.prediction:
                task = asyncio.create_task(self._start_later(command, run, prompt, worker))
                self._constraining.setdefault(command.stream, set()).add(task)
                task.add_done_callback(partial(self._constrained, command.stream))
            else:
                worker.send(worker.generations.start(command.stream, command.handle, run, prompt))

    async def _start_later(
        self, command: Generate, run: Run, prompt: PreparedPrompt, worker: WorkerConnection
    ) -> None:
        """Starts a sequence once its grammar and its predicted tokens are known."""
        grammar = vocabulary = None
        try:
            if is_constrained(prompt, run.generation):
                grammar, vocabulary = await asyncio.to_thread(constrain, prompt, run.generation)
            predicted = await asyncio.to_thread(predicted_ids, prompt, run.generation)
        except EngineError as error:
            failure = Failure(error.code, error.message, error.param)
            self._fail(command.stream, [run], failure)
        except Exception:  # the caller waits for an answer, whatever went wrong
            log.exception("start_failed", stream=command.stream)
            failure = Failure("internal", "the grammar or the prediction could not be prepared")
            self._fail(command.stream, [run], failure)
        else:
            if worker.is_lost:
                self._fail(command.stream, [run], worker.failure)
                return
            if vocabulary is not None:
                worker.introduce(vocabulary)
            start = worker.generations.start(
                command.stream, command.handle, run, prompt, grammar, predicted_ids=predicted
            )
            worker.send(start)

    def _constrained(self, stream: int, task: "asyncio.Task[None]") -> None:
        tasks = self._constraining[stream]
        tasks.discard(task)
        if not tasks:
            del self._constraining[stream]

    def _embed(self, command: Embed) -> None:
        worker = self._workers.get(command.device)
        for index, ticket in enumerate(command.tickets):
            prompt = self._tickets.get(ticket)
            if worker is None or worker.is_lost:
                failure = Failure("worker_lost", f"no worker of {command.device} is connected")
                self._send_deltas([(command.stream, Delta(index, failure=failure))])
            elif prompt is None:
                failure = Failure("internal", f"there is no prompt with ticket {ticket}")
                self._send_deltas([(command.stream, Delta(index, failure=failure))])
            else:
                start = worker.generations.embed(
                    command.stream, command.handle, index, prompt, command.salt
                )
                worker.send(start)

    def _cancel(self, stream: int) -> None:
        for task in self._constraining.get(stream, ()):
            task.cancel()
        for worker in self._workers.values():
            if sequences := worker.generations.cancel(stream):
                worker.send(Stop(sequences))

    def _fail(self, stream: int, runs: Iterable[Run], failure: Failure) -> None:
        self._send_deltas([(stream, Delta(run.index, failure=failure)) for run in runs])

    def _send_deltas(self, deltas: StreamDeltas) -> None:
        self._channel.send(Deltas(deltas))
