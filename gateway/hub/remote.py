"""The hub over HTTP: what a repository holds, and its bytes.

`huggingface_hub` has the session, the tokens, the URLs and the meaning of refusals. Files are read
here, by plain ranged requests: its own download starts anew after a crash, and Xet, its other way,
goes round a mirror to servers of its own. Every way that we read is one that any mirror answers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec
from msgspec import Struct

from gateway.hub.access import Access
from gateway.hub.errors import HubError, Transient
from gateway.hub.files import Listing, RemoteFile, is_safe
from gateway.hub.reference import Reference
from gateway.hub.refusals import raise_for_status

if TYPE_CHECKING:
    import httpx2

CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 30.0
MAX_LISTING_BYTES = 64 * 2**20


class _Lfs(Struct):
    sha256: str
    size: int


class _Sibling(Struct, rename="camel"):
    rfilename: str
    size: int | None = None
    blob_id: str | None = None
    lfs: _Lfs | None = None


class _Info(Struct):
    sha: str
    siblings: list[_Sibling] = []


class Remote:
    """Every method raises `HubError`, and `Transient` for what another try may mend."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def list_files(self, reference: Reference) -> Listing:
        """The files of the repository at the commit that the revision is at now."""
        revision = quote(reference.revision, safe="")
        url = f"{self._access.url}/api/models/{reference.repo}/revision/{revision}?blobs=true"
        with self._get(url, reference.repo) as response:
            body = _bounded(response)
        try:
            info = msgspec.json.decode(body, type=_Info)
        except msgspec.DecodeError as error:
            raise HubError(
                "unreachable", f"{url} does not answer as the hub does: {error}"
            ) from None
        if not (info.sha.isalnum() and len(info.sha) <= 64):
            raise HubError("unreachable", f"{url} names no commit")
        return Listing(info.sha, tuple(_files(reference.repo, info.siblings)))

    @contextmanager
    def read(
        self, repo: str, commit: str, file: RemoteFile, start: int
    ) -> Iterator[tuple[int, Iterator[bytes]]]:
        """The file's bytes as they come, and from where on they are: `start`, or 0 for all."""
        url = f"{self._access.url}/{repo}/resolve/{commit}/{quote(file.path)}"
        headers = {"range": f"bytes={start}-"} if start else {}
        with self._get(url, repo, headers) as response:
            yield _first_byte(response), response.iter_bytes()

    @contextmanager
    def _get(
        self, url: str, repo: str, headers: dict[str, str] | None = None
    ) -> "Iterator[httpx2.Response]":
        """Redirects are followed; to another server they go without the token."""
        import httpx2
        from huggingface_hub.utils._http import get_session

        timeout = httpx2.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS)
        with _conversion(url):
            all_headers = self._access.headers | (headers or {})
            with get_session().stream("GET", url, headers=all_headers, timeout=timeout) as response:
                raise_for_status(response, repo, self._access.url)
                yield response


@contextmanager
def _conversion(url: str) -> Iterator[None]:
    import httpx2
    from huggingface_hub.errors import OfflineModeIsEnabled

    server = "/".join(url.split("/", 3)[:3])
    try:
        yield
    except OfflineModeIsEnabled:
        raise HubError("offline", "the hub is not asked: HF_HUB_OFFLINE is set") from None
    except httpx2.TooManyRedirects:
        raise HubError("unreachable", f"{url} leads round in a circle of redirects") from None
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
        raise HubError("unreachable", f"{url}: {error}") from None
    except httpx2.TimeoutException:
        raise Transient(f"{server} does not answer in time") from None
    except (httpx2.TransportError, httpx2.DecodingError) as error:
        raise Transient(f"the connection to {server} failed: {error}") from None


def _first_byte(response: "httpx2.Response") -> int:
    """Where an answer begins. -1: somewhere that it does not say."""
    if response.status_code != 206:
        return 0
    unit, _, span = response.headers.get("content-range", "").partition(" ")
    first = span.partition("-")[0]
    return int(first) if unit == "bytes" and first.isdigit() else -1


def _bounded(response: "httpx2.Response") -> bytes:
    body = bytearray()
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > MAX_LISTING_BYTES:
            raise HubError("unreachable", "the hub's list of files has no end")
    return bytes(body)


def _files(repo: str, siblings: list[_Sibling]) -> Iterator[RemoteFile]:
    """Those that could be fetched and checked."""
    for sibling in siblings:
        size = sibling.lfs.size if sibling.lfs else sibling.size
        if not is_safe(sibling.rfilename) or size is None:
            continue
        if sibling.lfs:
            yield RemoteFile(sibling.rfilename, size, sha256=_hex(repo, sibling.lfs.sha256, 64))
        elif sibling.blob_id:
            yield RemoteFile(sibling.rfilename, size, blob_id=_hex(repo, sibling.blob_id, 40))


def _hex(repo: str, digest: str, length: int) -> str:
    """It names a file of ours."""
    if len(digest) != length or not set(digest) <= set("0123456789abcdef"):
        raise HubError("unreachable", f"the hub's list of {repo} has a digest {digest[:80]!r}")
    return digest
