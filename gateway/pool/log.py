"""The log line of each decision."""

from dataclasses import asdict
from typing import Any

import structlog

from gateway.pool.actions import (
    Action,
    CancelLoad,
    Close,
    Evict,
    Grant,
    Load,
    Pause,
    Reject,
    Reopen,
    Revoke,
)
from gateway.pool.place import name_of

log = structlog.get_logger()

EVENTS: dict[type[Action], str] = {
    CancelLoad: "model_load_cancelled",
    Close: "model_draining",
    Reopen: "model_reopened",
    Pause: "model_pausing",
    Evict: "model_evicting",
}


def log_action(action: Action) -> None:
    """Logs what the policy decided. Grants are not logged: a request's own line tells of it."""
    if isinstance(action, Grant):
        return
    if isinstance(action, Load):
        log.info("model_resuming" if action.resumes else "model_loading", **_fields(action))
    elif isinstance(action, Reject):
        log.warning("request_refused", model=action.model, reason=type(action.reason).__name__)
    elif isinstance(action, Revoke):
        reason, ended = type(action.reason).__name__, len(action.requests)
        log.warning("requests_ended", model=action.model, reason=reason, requests=ended)
    else:
        log.info(EVENTS[type(action)], **_fields(action))


def _fields(action: Action) -> dict[str, Any]:
    fields = asdict(action)
    if "place" in fields:
        fields["device"] = name_of(fields.pop("place"))
    return fields
