"""The log line of each decision."""

import structlog

from gateway.pool.actions import Action, CancelLoad, Close, Evict, Load, Reject, Reopen

log = structlog.get_logger()


def log_action(action: Action) -> None:
    """Logs what the policy decided. Grants are not logged: a request's own line tells of it."""
    match action:
        case Load(handle, model, device, form, kv_tokens, num_bytes, state_slots):
            log.info(
                "model_loading",
                model=model,
                device=device,
                handle=handle,
                form=form,
                kv_tokens=kv_tokens,
                state_slots=state_slots,
                bytes=num_bytes,
            )
        case CancelLoad(handle, model):
            log.info("model_load_cancelled", model=model, handle=handle)
        case Close(handle, model, makes_room_for, leases):
            log.info(
                "model_draining",
                model=model,
                handle=handle,
                makes_room_for=makes_room_for,
                leases=leases,
            )
        case Reopen(handle, model):
            log.info("model_reopened", model=model, handle=handle)
        case Evict(handle, model, device, makes_room_for):
            log.info(
                "model_evicting",
                model=model,
                device=device,
                handle=handle,
                makes_room_for=makes_room_for,
            )
        case Reject(_, model, reason):
            log.warning("request_refused", model=model, reason=type(reason).__name__)
