from dataclasses import dataclass

from engine.api import ErrorCode
from gateway.pool.actions import CannotLoad
from gateway.pool.limits import PoolLimits


@dataclass(slots=True)
class Trouble:
    """What went wrong with a model, in a row, and until when it is therefore not tried again.

    The second failure in a row costs a second, each further one twice as long, up to the limit.
    """

    failures: int = 0
    crashes: int = 0
    retry_at: float = 0.0
    last: CannotLoad | None = None

    def failed(self, code: ErrorCode, message: str, limits: PoolLimits, now: float) -> CannotLoad:
        """A load failed."""
        self.failures += 1
        return self._back_off(self.failures, code, message, limits, now)

    def crashed(self, device: str, limits: PoolLimits, now: float) -> CannotLoad | None:
        """A worker died while it loaded or ran the model. None: that may well be chance."""
        self.crashes += 1
        if self.crashes < limits.max_crashes:
            return None
        message = f"the worker of {device} died {self.crashes} times in a row with this model"
        failures = 2 + self.crashes - limits.max_crashes
        return self._back_off(failures, "worker_lost", message, limits, now)

    def loaded(self) -> None:
        self.failures = 0

    def served(self) -> None:
        """A request ended and the worker was still alive."""
        self.crashes = 0

    def refusal(self, now: float) -> CannotLoad | None:
        """Why the model is not to be tried at `now`."""
        if self.last is None or now >= self.retry_at:
            return None
        return CannotLoad(self.last.code, self.last.message, self.retry_at - now)

    def _back_off(
        self, failures: int, code: ErrorCode, message: str, limits: PoolLimits, now: float
    ) -> CannotLoad:
        seconds = 0.0 if failures < 2 else 2.0 ** min(failures - 2, 30)
        seconds = min(seconds, limits.max_backoff_seconds)
        self.retry_at = now + seconds
        self.last = CannotLoad(code, message, seconds)
        return self.last
