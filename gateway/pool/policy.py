"""The pool's decisions: events in, actions out. DESIGN.md beside this states the invariants.

`now` is monotonic seconds, given with every event. An event about a handle or request that is no
longer known changes nothing: its worker was lost, or it was answered before.
"""

import math
from dataclasses import replace

from engine.api import ErrorCode, ModelCard
from gateway.pool.actions import Action, CannotFit, Unloaded
from gateway.pool.place import places_for
from gateway.pool.placement import Fit, TooLarge, fit
from gateway.pool.plan import Plan, plan_of
from gateway.pool.settling import Settling
from gateway.pool.state import Model, Phase, Resident
from gateway.pool.terms import DEFAULT_TERMS, Terms, keep_alive_of
from gateway.pool.wishes import Wish


class Policy(Settling):
    """Which models are resident, and who may use them. Every event ends in one `settle`."""

    # --- requests -------------------------------------------------------------------------------

    def requested(
        self,
        request: int,
        key: str,
        card: ModelCard,
        now: float,
        *,
        name: str | None = None,
        terms: Terms = DEFAULT_TERMS,
        keep_alive: float | None = None,
        priority: int = 0,
    ) -> list[Action]:
        """Ends in `Grant` or `Reject`, unless it is cancelled first. Request numbers are unique.

        name: the id by which groups know the model; what it was under another key retires. keep_alive: seconds as Ollama means them, from
        now on; None leaves it as it is. priority: beside that of the terms.
        """
        found = self.fit(card, terms)
        if isinstance(found, TooLarge):
            self.requests.reject(request, key, CannotFit(found.needed, found.available))
            return self.settle(now)
        self._succeed(key, name)
        model = self._known(key, found, name, terms)
        if keep_alive is not None:
            model.keep_alive_seconds = keep_alive_of(keep_alive)
        self.requests.admit(request, model, priority, now)
        return self.settle(now)

    def cancelled(self, request: int, now: float) -> list[Action]:
        """The request left, whether it was still waiting or had been granted meanwhile."""
        return self.released(request, now)

    def released(self, request: int, now: float) -> list[Action]:
        resident = self.requests.leave(request, now)
        if resident is not None and not resident.is_void:
            self.models[resident.model].trouble.served()
        return self.settle(now)

    # --- what administrators say ----------------------------------------------------------------

    def pinned(self, key: str, is_pinned: bool, now: float) -> list[Action]:
        """A pin set while a paused model needs the room counts once that has had it."""
        self.pins[key] = is_pinned
        if (model := self.models.get(key)) is not None:
            model.terms = self._with_pin(key, model.terms)
        return self.settle(now)

    def renewed(self, key: str, terms: Terms, now: float) -> list[Action]:
        """The operator has other terms for the model, which do not wait for its next request."""
        model = self.models.get(key)
        if model is not None and terms != model.terms:
            self._take_terms(model, terms)
        return self.settle(now)

    def retired(self, key: str, now: float) -> list[Action]:
        """The model is another by now: what is loaded goes once nobody uses it, pinned or not."""
        if (model := self.models.get(key)) is not None:
            self._retire(model)
        return self.settle(now)

    def unload_requested(self, key: str, force: bool, now: float) -> list[Action]:
        """The model goes once nobody uses it; who asks for it meanwhile has it loaded anew.

        force: its requests are ended, and those that wait for it refused.
        """
        model = self.models.get(key)
        if model is None:
            return self.settle(now)
        resident = model.resident
        if resident is not None and resident.phase is not Phase.EVICTING:
            resident.farewell = "asked"
            if force:
                self.requests.revoke(resident, Unloaded())
        if force:
            self.requests.reject_waiters(model, Unloaded())
        return self.settle(now)

    # --- what the engine says -------------------------------------------------------------------

    def loaded(
        self,
        handle: int,
        now: float,
        used_bytes: int | None = None,
        seconds: float | None = None,
        build_seconds: float = 0.0,
    ) -> list[Action]:
        """used_bytes: what it took in truth. seconds: of the load alone, if not since its order.

        build_seconds: of these, for what later loads find done, if it was kept.
        """
        resident = self._expecting(handle, Phase.LOADING, Phase.CANCELLING)
        if resident is not None:
            model = self.models[resident.model]
            model.num_loads += 1
            once = model.once(build_seconds)
            taken = now - resident.swap_since if seconds is None else seconds
            model.load_seconds = max(0.0, taken - once)
            if used_bytes is not None:
                model.excess_bytes = used_bytes - resident.placement.bytes
            model.trouble.loaded()
            self.book.loaded(resident, used_bytes, once, now)
        return self.settle(now)

    def failed(self, handle: int, code: ErrorCode, message: str, now: float) -> list[Action]:
        """A load ended without a model, as asked or not; its memory is free again.

        A paused model that cannot come back loses its requests.
        """
        resident = self._expecting(handle, Phase.LOADING, Phase.CANCELLING)
        if resident is None:
            return self.settle(now)
        was_wanted = resident.phase is Phase.LOADING
        if resident.paused_at is None:
            self.book.drop(resident)
        else:
            self.book.unloaded(resident)
        if was_wanted:
            model = self.models[resident.model]
            refusal = model.trouble.failed(code, message, self.limits, now)
            self.requests.reject_waiters(model, refusal)
            self.requests.revoke(resident, refusal)
            resident.farewell = "failed"
        return self.settle(now)

    def paused(self, handle: int, now: float) -> list[Action]:
        """The bytes of a busy model are free, and its sequences are kept."""
        resident = self._expecting(handle, Phase.PAUSING)
        if resident is not None:
            self.book.unloaded(resident)
        return self.settle(now)

    def evicted(self, handle: int, now: float) -> list[Action]:
        resident = self.residents.get(handle)
        if resident is not None:
            assert resident.phase is Phase.EVICTING, resident
            self.book.drop(resident)
        return self.settle(now)

    def worker_lost(self, device: str, now: float) -> list[Action]:
        """All that was on the device is gone and its leases are void. Waiters go on waiting.

        What such models have on other devices is evicted from there.
        """
        self.down.add(device)
        for resident in [r for r in self.residents.values() if device in r.place]:
            was_running = _was_running(resident)
            self.requests.void(resident)
            self.book.lose(resident, device)
            if was_running:
                model = self.models[resident.model]
                refusal = model.trouble.crashed(device, self.limits, now)
                if refusal is not None:
                    self.requests.reject_waiters(model, refusal)
        return self.settle(now)

    def device_ready(self, device: str, now: float) -> list[Action]:
        """The worker of a lost device is back, empty."""
        self.down.discard(device)
        return self.settle(now)

    # --- time -----------------------------------------------------------------------------------

    def ticked(self, now: float) -> list[Action]:
        return self.settle(now)

    def next_deadline(self, now: float) -> float | None:
        """When time alone changes something: call `ticked` then."""
        return min((d for d in self.deadlines() if now < d < math.inf), default=None)

    # --- questions ------------------------------------------------------------------------------

    def plan(
        self,
        key: str,
        card: ModelCard,
        now: float,
        *,
        name: str | None = None,
        terms: Terms = DEFAULT_TERMS,
    ) -> Plan:
        """What a request would bring about now. Changes nothing."""
        found = self.fit(card, terms)
        known = self.models.get(key)
        if isinstance(found, TooLarge):
            return Plan(key, refusal=CannotFit(found.needed, found.available))
        if known is not None and known.resident is not None:
            found = known.fit
        asked = Model(key, found, name or key, self._with_pin(key, terms))
        if known is not None:
            asked.excess_bytes, asked.load_seconds = known.excess_bytes, known.load_seconds
        wish = Wish(asked, now, (now, True, 0), found.places, asked.planned_bytes)
        claims = self.claims(now)
        return plan_of(wish, known, claims, models=self.models, timing=self.timing, now=now)

    def fit(
        self, card: ModelCard, terms: Terms = DEFAULT_TERMS, key: str | None = None
    ) -> Fit | TooLarge:
        """How the model would be loaded, and where; how it was, if it is there by that key."""
        known = self.models.get(key) if key else None
        if known is not None and known.resident is not None:
            return known.fit
        names = [device.name for device in self.devices]
        places = places_for(names, self.limits.tensor_parallel, terms)
        return fit(card, self.devices, terms.max_context or self.limits.max_context, places)

    def _expecting(self, handle: int, *phases: Phase) -> Resident | None:
        """Who an outcome is about; None if part of it was lost meanwhile, as all the rest will be."""
        resident = self.residents.get(handle)
        if resident is None or resident.farewell == "lost":
            return None
        assert resident.phase in phases, resident
        return resident

    def _known(self, key: str, found: Fit, name: str | None, terms: Terms) -> Model:
        model = self.models.get(key)
        if model is None:
            model = self.models[key] = Model(key, found)
            model.keep_alive_seconds = terms.keep_alive_seconds
        self._take_terms(model, terms)
        model.id = name or key
        if model.resident is None:
            model.fit = found  # the file may have been replaced since
        return model

    def _succeed(self, key: str, name: str | None) -> None:
        """One that has changed, its files or what it is computed in, has another key from then on."""
        for old in self.models.values():
            if old.id == name and old.key != key:
                self._retire(old)
                if (pin := self.pins.pop(old.key, None)) is not None:
                    self.pins.setdefault(key, pin)

    def _retire(self, model: Model) -> None:
        model.terms = replace(model.terms, pinned=False, keep_alive_seconds=0.0)
        model.keep_alive_seconds = 0.0

    def _take_terms(self, model: Model, terms: Terms) -> None:
        # as in Ollama: keep_alive 0 unloads it now, and not after each later request too
        if model.is_away or model.terms.keep_alive_seconds != terms.keep_alive_seconds:
            model.keep_alive_seconds = terms.keep_alive_seconds
        model.terms = self._with_pin(model.key, terms)


def _was_running(resident: Resident) -> bool:
    """Whether it may be what killed its worker."""
    is_used = bool(resident.leases) and resident.phase is not Phase.PAUSED
    return is_used or resident.phase is Phase.LOADING
