"""Our own: what an administrator asks of the pool, and what a request would bring about."""

from msgspec import Struct

from gateway.openai.errors import ErrorBody


class Load(Struct, frozen=True):
    """keep_alive: as in a chat."""

    model: str
    keep_alive: str | float | None = None


class Unload(Struct, frozen=True):
    """force: requests that use the model are ended, not waited for."""

    model: str
    force: bool = False


class Refusal(Struct, frozen=True):
    """What a request would be answered now."""

    status: int
    error: ErrorBody


class Victim(Struct, frozen=True):
    """A model that would make room. way: evict, drain, pause, or load_first.

    wait_seconds: until it may go, where only time stands in the way.
    """

    model: str
    device: str
    bytes: int
    leases: int
    idle_seconds: float | None
    way: str
    wait_seconds: float | None


class Plan(Struct, frozen=True, kw_only=True):
    """What a request for the model would do now. reasons: the same for people.

    ahead: models that wait for room already. expected_seconds: null where nobody can know.
    dtype, kv_dtype: as of `ModelDetails`.
    """

    model: str
    is_loaded: bool
    device: str | None
    form: str | None
    dtype: str
    kv_dtype: str
    bytes: int
    kv_tokens: int
    state_slots: int
    victims: list[Victim]
    ahead: int
    expected_seconds: float | None
    refusal: Refusal | None
    reasons: list[str]
