"""How the hub is reached."""

import os
from dataclasses import dataclass

from gateway.hub.errors import HubError


@dataclass(frozen=True, slots=True)
class Access:
    """endpoint: a mirror instead of the hub; None takes `HF_ENDPOINT`, else the hub itself.

    token: None takes `HF_TOKEN`, else what `hf auth login` stored. is_offline: the network is not
    touched; `HF_HUB_OFFLINE` says so too.
    """

    endpoint: str | None = None
    token: str | None = None
    is_offline: bool = False

    @property
    def url(self) -> str:
        """Raises `HubError` for what is no URL of a server."""
        from huggingface_hub import constants

        url = (self.endpoint or os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")
        if not url.startswith(("http://", "https://")):
            raise HubError("bad_reference", f"the hub's endpoint {url!r} is no http(s) URL")
        return url

    @property
    def offline(self) -> bool:
        from huggingface_hub import constants

        return self.is_offline or constants.is_offline_mode()

    @property
    def headers(self) -> dict[str, str]:
        """Made here: the library's own ask the hub for a list of programs to tell it of."""
        from huggingface_hub import get_token

        from gateway.version import own_version

        token = self.token or get_token()
        headers = {"user-agent": f"roundhouse/{own_version()}", "accept-encoding": "identity"}
        return headers | ({"authorization": f"Bearer {token}"} if token else {})
