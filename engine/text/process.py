"""The text process: a shell that carries out what it is told over one channel."""

import asyncio
import itertools
from collections.abc import Iterable

import structlog

from engine.api import Delta, EngineError, Failure, Prepared, Run
from engine.channel import Channel
from engine.text.connection import WorkerConnection
from engine.text.generations import StreamDeltas
from engine.text.prompts import PreparedPrompt, PromptReader
from engine.wire import (
    Attach,
    Cancel,
    Deltas,
    Discard,
    Generate,
    Prepare,
    PrepareDone,
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
            case Discard():
                for ticket in command.tickets:
                    self._tickets.pop(ticket, None)
            case Generate():
                self._generate(command)
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
            else:
                worker.send(worker.generations.start(command.stream, command.handle, run, prompt))

    def _cancel(self, stream: int) -> None:
        for worker in self._workers.values():
            if sequences := worker.generations.cancel(stream):
                worker.send(Stop(sequences))

    def _fail(self, stream: int, runs: Iterable[Run], failure: Failure) -> None:
        self._send_deltas([(stream, Delta(run.index, failure=failure)) for run in runs])

    def _send_deltas(self, deltas: StreamDeltas) -> None:
        self._channel.send(Deltas(deltas))
