"""The shell: what `directory`, `route` and `breaker` decide is done here, over `client`."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, aclosing

import msgspec
import structlog
from prometheus_client import CollectorRegistry

from engine.api import Delta
from gateway.catalog.models import KnownModel
from gateway.config import UpstreamSettings
from gateway.errors import ModelNotFound, UpstreamLoop, UpstreamUnavailable
from gateway.journey import arrival
from gateway.translate.job import Job
from gateway.translate.vectors import VectorJob
from gateway.upstreams import wire
from gateway.upstreams.attempt import Attempt
from gateway.upstreams.breaker import Breaker
from gateway.upstreams.client import Client
from gateway.upstreams.counters import Counters
from gateway.upstreams.directory import Directory, Entry, Target
from gateway.upstreams.failures import UpstreamFailure, broken
from gateway.upstreams.replies import ReplyReader
from gateway.upstreams.requests import write_request
from gateway.upstreams.route import Ask, Candidate, Route
from gateway.upstreams.vectors import read_vectors, write_vector_request
from gateway.upstreams.via import is_loop, new_pseudonym

LOOK_SECONDS = 60.0
"""Between two looks at the lists of upstreams."""

LEAST_LOOK_SECONDS = 10.0
"""However often unknown names are asked for."""

AGAIN_SECONDS = 1.0
"""Instead of both after a look that failed, or found nothing: a server that starts knows little yet."""

PATIENCE_SECONDS = 5.0
"""How long a request for an unknown name waits for a look."""

Pause = Callable[[float], Awaitable[None]]

log = structlog.get_logger()


class Upstreams:
    """`start` once; then `find` models, and have them `generate` and `embed`.

    Raises a `GatewayError` for what cannot be answered, once nobody else is left who could.
    clock, jitter, pause: as `Route` and `Breaker` take them.
    """

    def __init__(
        self,
        settings: Sequence[UpstreamSettings],
        registry: CollectorRegistry,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
        pause: Pause = asyncio.sleep,
    ) -> None:
        """Raises `SettingsError`."""
        self._pseudonym = new_pseudonym()
        self._clients = {each.name: Client(each, self._pseudonym) for each in settings}
        self._directory = Directory(settings, created=int(time.time()))
        self._breakers: dict[Target, Breaker] = {}
        self._counters = Counters(registry)
        self._clock, self._jitter, self._pause = clock, jitter, pause
        self._looked_at = float("-inf")
        self._has_looked = self._has_found = False
        self._look: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._leaving: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Looks around in the background, where models are to be discovered."""
        if self._directory.discovering:
            self._looking = asyncio.create_task(self._keep_looking(), name="upstreams-look")

    def reconfigure(self, settings: Sequence[UpstreamSettings]) -> None:
        """Other upstreams from now on; who is being answered is answered to the end.

        Raises `SettingsError` before anything has changed.
        """
        kept = {
            each.name: client
            for each in settings
            if (client := self._clients.get(each.name)) and client.settings == each
        }
        if len(kept) == len(settings) == len(self._clients):
            return
        new = {
            each.name: Client(each, self._pseudonym) for each in settings if each.name not in kept
        }
        gone = [client for name, client in self._clients.items() if name not in kept]
        self._clients = {each.name: {**kept, **new}[each.name] for each in settings}
        self._directory.reconfigure(settings)
        self._breakers = {t: b for t, b in self._breakers.items() if t.upstream in kept}
        self._leaving = [task for task in self._leaving if not task.done()]
        self._leaving += [asyncio.create_task(client.retire()) for client in gone]
        self._begin_anew()

    async def close(self) -> None:
        tasks = [task for task in (self._looking, self._look) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *self._leaving, return_exceptions=True)
        await asyncio.gather(*(client.close() for client in self._clients.values()))

    def _begin_anew(self) -> None:
        """Looks at the lists of upstreams that are not known yet."""
        for task in (self._looking, self._look):
            if task is not None:
                task.cancel()
        self._looked_at, self._look, self._looking = float("-inf"), None, None
        self._has_looked = self._has_found = False
        self.start()

    # --- which models there are -----------------------------------------------------------------

    @property
    def models(self) -> list[KnownModel]:
        return [entry.known for entry in self._directory.entries]

    def find(self, name: str) -> KnownModel | None:
        """Of what is known now."""
        entry = self._directory.find(name)
        return entry.known if entry else None

    def may_have(self, name: str) -> bool:
        """As far as is known: before the first look around, whatever it is."""
        is_known = self.find(name) is not None
        return is_known or (bool(self._directory.discovering) and not self._has_looked)

    async def looked(self, seconds: float) -> None:
        """Returns after the first look around, or after so many seconds."""
        if self._directory.discovering and not self._has_looked:
            await asyncio.wait({self._begin_look()}, timeout=seconds)

    async def discover(self, name: str) -> KnownModel | None:
        """As `find`, with a look around for a name that is not known."""
        if not self._directory.discovering or self.find(name):
            return self.find(name)
        await asyncio.wait({self._begin_look()}, timeout=PATIENCE_SECONDS)
        return self.find(name)

    # --- answers --------------------------------------------------------------------------------

    async def generate(self, model: KnownModel, job: Job) -> AsyncGenerator[Delta, None]:
        """As `engine.api.Engine.generate`, of every choice of the job."""
        async with aclosing(self._attempts(model)) as attempts:
            async for attempt in attempts:
                with attempt:
                    async with aclosing(self._deltas(attempt, job)) as deltas:
                        async for delta in deltas:
                            attempt.begin()
                            yield delta
                    return

    async def embed(self, model: KnownModel, job: VectorJob) -> tuple[list[bytes], int]:
        """The vectors as `engine.api.Engine.embed` gives them, and the number of tokens read."""
        async with aclosing(self._attempts(model)) as attempts:
            async for attempt in attempts:
                with attempt:
                    path, body = write_vector_request(job, attempt.target.model)
                    answer = await attempt.client.post(path, body)
                    return await asyncio.to_thread(read_vectors, attempt.client.name, job, answer)
        raise AssertionError("attempts end with an answer or an error")

    async def _deltas(self, attempt: Attempt, job: Job) -> AsyncGenerator[Delta, None]:
        name, target = attempt.client.name, attempt.target
        path, body = write_request(job, target.model, attempt.client.settings)
        reader = ReplyReader(name, job.num_choices)
        async with aclosing(attempt.client.stream(path, body)) as events:
            async for event in events:
                for delta in reader.read(event):
                    yield delta
                if reader.is_done:
                    break
        for delta in reader.end():
            yield delta

    async def _attempts(self, model: KnownModel) -> AsyncGenerator[Attempt, None]:
        """One after the other, until whoever asked needs no more. Raises the last one's error."""
        entry = self._directory.find(model.root)
        if entry is None:
            raise ModelNotFound(model.root)  # a look since then did not find it
        if is_loop(arrival().via, self._pseudonym):
            raise UpstreamLoop(f"The servers that have {model.id!r} ask this one for it.")
        clients = [self._clients[target.upstream] for target in entry.targets]
        async with AsyncExitStack() as holding:
            for client in clients:
                await holding.enter_async_context(client.held())
            async with aclosing(self._attempts_at(model, entry, clients)) as attempts:
                async for attempt in attempts:
                    yield attempt

    async def _attempts_at(
        self, model: KnownModel, entry: Entry, clients: Sequence[Client]
    ) -> AsyncGenerator[Attempt, None]:
        """clients: one for each of the entry's targets."""
        candidates = [
            Candidate(client.settings.retries, self._breaker(target, client))
            for target, client in zip(entry.targets, clients, strict=True)
        ]
        route, failure = Route(candidates, self._jitter), None
        while isinstance(step := route.next(self._clock()), Ask):
            if step.pause_seconds:
                await self._pause(step.pause_seconds)
            breaker = candidates[step.place].breaker
            if not breaker.wait_seconds(self._clock()):
                attempt = Attempt(
                    entry.id,
                    entry.targets[step.place],
                    clients[step.place],
                    breaker,
                    counters=self._counters,
                    clock=self._clock,
                )
                yield attempt
                failure = attempt.failure
                assert failure, "whoever asks again was not answered"
                route.failed(failure.verdict)
        raise failure.error if failure else _unavailable(model, step.seconds)

    def _breaker(self, target: Target, client: Client) -> Breaker:
        return self._breakers.setdefault(target, Breaker(client.settings.rest_seconds))

    # --- lists ----------------------------------------------------------------------------------

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.wait({self._begin_look()})
            await asyncio.sleep(LOOK_SECONDS if self._has_found else AGAIN_SECONDS)

    def _begin_look(self) -> "asyncio.Task[None]":
        """All who ask share a look, and it is not the next as long as the last is fresh."""
        least = LEAST_LOOK_SECONDS if self._has_found else AGAIN_SECONDS
        is_fresh = self._clock() - self._looked_at < least
        if self._look is None or (self._look.done() and not is_fresh):
            self._looked_at = self._clock()
            self._look = asyncio.create_task(self._look_around(), name="upstreams-look")
        return self._look

    async def _look_around(self) -> None:
        looks = (self._look_at(name) for name in self._directory.discovering)
        self._has_found = all(await asyncio.gather(*looks))
        self._has_looked = True

    async def _look_at(self, name: str) -> bool:
        """Whether there is something. What was known stays known where this fails."""
        try:
            answer = await self._clients[name].get("models")
            listed = msgspec.json.decode(answer, type=wire.Listing).data
        except UpstreamFailure as failure:
            log.warning("upstream_not_listed", upstream=name, reason=failure.error.message)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            reason = broken(name, "sent a list that is not OpenAI's").error.message
            log.warning("upstream_not_listed", upstream=name, reason=reason)
        else:
            self._directory.learn(name, listed)
            return bool(listed)
        return False


def _unavailable(model: KnownModel, seconds: float) -> UpstreamUnavailable:
    return UpstreamUnavailable(
        f"Every server that has {model.id!r} failed a moment ago.",
        retry_after_seconds=seconds,
    )
