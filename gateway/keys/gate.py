"""Lets requests in by their keys: the clocks, the keyring and the errors around the deciders."""

import time
from collections.abc import Callable, Mapping

from gateway import errors
from gateway.config import SCOPES, Scope, Settings
from gateway.keys.account import Account, Exceeded, Moment
from gateway.keys.credentials import secret_in
from gateway.keys.devices import DeviceClock
from gateway.keys.headers import rate_headers
from gateway.keys.keeper import Keeper
from gateway.keys.key import PREFIX, Key, anonymous
from gateway.keys.keyring import Keyring
from gateway.keys.visit import Visit

OnRefused = Callable[[str, Key | None], None]
"""Told why, in a word, and whose request it was, if that is known."""

_MAX_ACCOUNTS = 10_000
"""Beyond that those are forgotten that have no request under way."""


class Gate:
    """`admit` lets a request in. `on_refused` hears of each that is not."""

    def __init__(
        self,
        settings: Settings,
        keyring: Keyring,
        keeper: Keeper,
        clock: Callable[[], float] = time.monotonic,
        date: Callable[[], float] = time.time,
    ) -> None:
        self.on_refused: OnRefused = lambda _, __: None
        self.keyring = keyring
        self.book = keeper.book
        self._keeper = keeper
        self._anonymous = anonymous(anonymous_scopes(settings))
        self._accounts: dict[str, Account] = {}
        self.devices = DeviceClock()
        self.clock = clock
        self._date = date

    @property
    def moment(self) -> Moment:
        return Moment(self.clock(), self._date())

    def admit(self, visit: Visit, headers: Mapping[bytes, bytes], scope: Scope | None) -> Key:
        """Lets a request in for what needs `scope`; None is open to all. Raises a `GatewayError`."""
        if scope is None:
            visit.key = self._anonymous
            return self._anonymous
        key = self.key_of(headers)
        self._check_scope(key, scope)
        visit.meter = self._meter(key)
        if visit.meter is not None and (exceeded := visit.meter.account.enter(self.moment)):
            raise self._refused(_error_of(exceeded, key), exceeded.limit, key)
        visit.key = key
        visit.entered()
        return key

    def key_of(self, headers: Mapping[bytes, bytes]) -> Key:
        """Whose request it is. Raises `Unauthorized` for a key that is not, or no longer, good.

        Clients that need none send some word all the same: where nobody needs one, only what looks
        like one of ours counts as a key.
        """
        secret = secret_in(headers)
        if secret is None:
            return self._anonymous
        key = self.keyring.find(secret)
        if key is None and self._anonymous.scopes and not secret.startswith(PREFIX):
            return self._anonymous
        if key is None:
            raise self._refused(errors.Unauthorized("Incorrect API key provided."), "unknown_key")
        if key.is_expired(self._date()):
            raise self._refused(errors.Unauthorized("This API key has expired."), "expired", key)
        return key

    def account(self, key: Key) -> Account:
        account = self._accounts.get(key.digest)
        if account is None:
            self._forget_some()
            account = Account(key.id, key, self.book, self.clock())
            self._accounts[key.digest] = account
        elif account.rights is not key:
            account.adjust(key, self.clock())
        return account

    def reconfigure(self, settings: Settings) -> None:
        """What needs no key from now on."""
        self._anonymous = anonymous(anonymous_scopes(settings))

    async def close(self) -> None:
        await self._keeper.close()
        self.keyring.close()

    def _check_scope(self, key: Key, scope: Scope) -> None:
        if scope in key.scopes:
            return
        if key is self._anonymous:
            raise self._refused(errors.Unauthorized(_HOW), "no_key", key)
        message = f"The key {key.name!r} lacks the scope {scope!r}, which this needs."
        raise self._refused(errors.MissingScope(message), "scope", key)

    def _meter(self, key: Key) -> "_Meter | None":
        if not key.digest:
            return None
        return _Meter(self.account(key), self, lambda reason: self.on_refused(reason, key))

    def spend_seconds(self, account: Account, seconds: float) -> None:
        account.spend_seconds(seconds, self._date())
        self._keeper.wake()

    def _refused(
        self, error: errors.GatewayError, reason: str, key: Key | None = None
    ) -> errors.GatewayError:
        self.on_refused(reason, key)
        return error

    def _forget_some(self) -> None:
        if len(self._accounts) >= _MAX_ACCOUNTS:
            busy = {d: account for d, account in self._accounts.items() if account.num_requests}
            self._accounts = busy


class _Meter:
    """`visit.Meter`, on the gate's clock."""

    __slots__ = ("_gate", "account", "refused")

    def __init__(self, account: Account, gate: Gate, refused: Callable[[str], None]) -> None:
        self.account = account
        self.refused = refused
        self._gate = gate

    def headers(self) -> list[tuple[bytes, bytes]]:
        return rate_headers(self.account, self._gate.clock())

    def spend_tokens(self, count: int) -> None:
        self.account.spend_tokens(count, self._gate.clock())

    def use(self, device: str) -> float:
        return self._gate.devices.begin(device, self._gate.clock())

    def release(self, device: str, begun: float) -> None:
        seconds = self._gate.devices.end(device, begun, self._gate.clock())
        self._gate.spend_seconds(self.account, seconds)


_HOW = (
    "You didn't provide an API key. Send one as 'Authorization: Bearer rh-...' or 'x-api-key: "
    "rh-...'; 'roundhouse key create' makes them."
)


def anonymous_scopes(settings: Settings) -> frozenset[Scope]:
    """What may be done without a key."""
    if settings.keys.anonymous is not None:
        return frozenset(settings.keys.anonymous)
    return SCOPES if settings.is_loopback else frozenset()


def _error_of(exceeded: Exceeded, key: Key) -> errors.GatewayError:
    message = f"The key {key.name!r} has used up its {exceeded.amount:g} {exceeded.what}."
    if exceeded.limit != "budget":
        return errors.RateLimited(message, None, exceeded.retry_after_seconds)
    hours = (exceeded.retry_after_seconds or 0) / 3600
    return errors.BudgetSpent(f"{message} It can be used again in {hours:.1f} hours.")
