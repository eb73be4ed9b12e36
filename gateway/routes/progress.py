from gateway.catalog.models import KnownModel
from gateway.pool import Pool


def progress_of(pool: Pool, model: KnownModel | None, *, has_lease: bool) -> str:
    """What the server is busy with, for a client that waits."""
    if model is None:
        return "looking at the model"
    status = pool.status(model.key)
    if status.state == "loading":
        return f"loading {model.id} {status.fraction:.0%}"
    if has_lease:
        return f"paused, the turn of {model.id} comes" if status.state == "paused" else "working"
    ahead = pool.ahead(model.key)
    return f"waiting for {model.id}, {ahead} ahead" if ahead else f"waiting for {model.id}"
