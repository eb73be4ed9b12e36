"""Models that cannot be served, or not now."""

from collections.abc import Sequence

from gateway.errors.base import GatewayError


class ModelNotFound(GatewayError):
    status = 404
    code = "model_not_found"

    def __init__(self, name: str, candidates: Sequence[str] = ()) -> None:
        """candidates: ids that the name might mean, when there are several."""
        shown = name if len(name) <= 200 else name[:200] + "..."
        hint = f"it could be any of {', '.join(candidates)}" if candidates else "see /v1/models"
        super().__init__(f"The model {shown!r} does not exist: {hint}.", "model")


class ModelLoadFailed(GatewayError):
    """The model's files cannot be served as they are; only changing them helps."""

    status = 503
    type = "server_error"
    code = "model_load_failed"
    heals = False


class ModelNotLoaded(GatewayError):
    """A load failed for a reason that may pass, such as a full device."""

    status = 503
    type = "server_error"
    code = "model_load_failed"


class ModelTooLarge(GatewayError):
    """Whatever else is evicted, no device here can hold the model."""

    status = 507
    type = "server_error"
    code = "model_too_large"
    heals = False


class PinnedModelsInTheWay(GatewayError):
    """The model would fit, but for models that are pinned; only unpinning one helps."""

    status = 503
    type = "server_error"
    code = "only_pinned_models_left"
    heals = False


class ModelUnloaded(GatewayError):
    """Somebody had the model unloaded by force while the request waited for it or used it."""

    status = 503
    type = "server_error"
    code = "model_evicted"


class ModelNotReady(GatewayError):
    """The model was not ready in the time that a request may wait."""

    status = 503
    type = "server_error"
    code = "model_loading"
