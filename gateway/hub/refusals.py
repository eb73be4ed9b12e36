"""What the hub's refusals mean, and what to do about each."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from gateway.hub.errors import HubError, Transient

if TYPE_CHECKING:
    import httpx2

_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
_TOKEN = "set HF_TOKEN to a token that may read it, or run 'hf auth login'"  # noqa: S105 (advice)


def raise_for_status(response: "httpx2.Response", repo: str, endpoint: str) -> None:
    """Raises `HubError` for an answer that is none; `Transient` where another try may help."""
    from huggingface_hub.errors import (
        DisabledRepoError,
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )
    from huggingface_hub.utils._http import hf_raise_for_status

    status = response.status_code
    if status in _TRANSIENT:
        raise Transient(_transient(status, endpoint), retry_after_of(response))
    if response.is_error:
        response.read()  # which the library looks into
    try:
        hf_raise_for_status(response)
    except GatedRepoError:
        page = f"{endpoint}/{repo}"
        text = f"{repo} is gated: accept its terms at {page}, and {_TOKEN}"
        raise HubError("denied", text) from None
    except DisabledRepoError:
        raise HubError("denied", f"the hub has disabled access to {repo}") from None
    except RevisionNotFoundError:
        raise HubError("not_found", f"{repo} has no such revision") from None
    except EntryNotFoundError:
        raise HubError("not_found", f"{repo} no longer has {response.url.path}") from None
    except RepositoryNotFoundError:
        text = f"{endpoint} has no {repo}, or it is private: mind its spelling, or {_TOKEN}"
        raise HubError("not_found", text) from None
    except HfHubHTTPError:
        raise _refused(status, repo, endpoint) from None


def retry_after_of(response: "httpx2.Response") -> float | None:
    """Seconds that the server asks to wait, from its header's number or date."""
    value = response.headers.get("retry-after", "").strip()
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def _transient(status: int, endpoint: str) -> str:
    if status == 429:
        return f"{endpoint} is asked too often (429); a token is allowed more: {_TOKEN}"
    return f"{endpoint} answers {status}"


def _refused(status: int, repo: str, endpoint: str) -> HubError:
    if status in {401, 403}:
        return HubError("denied", f"{endpoint} refuses {repo} ({status}): {_TOKEN}")
    if status == 404:
        return HubError("not_found", f"{endpoint} has no {repo}")
    return HubError("unreachable", f"{endpoint} answers {status} for {repo}")
