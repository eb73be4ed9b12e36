"""A server on loopback that speaks the hub's protocol, with faults on demand.

    with HubServer() as hub:
        hub.add("org/tiny", {"config.json": b"{}", "model.safetensors": weights})
        hub.faults.append(Cut("model.safetensors", after=1000))

A repository is private or gated when it is said to be; `token` then opens it. Large files (those that
git-lfs would have) are redirected to `/cdn/`, as the hub does, on another host name of loopback, where
a token must not arrive. What was asked is kept in `asked`: (method, path, headers).
"""

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import unquote, urlsplit

LFS_SUFFIXES = (".safetensors", ".gguf", ".bin", ".model")


@dataclass
class Repository:
    """files: by path. access: who may read it."""

    files: dict[str, bytes]
    commit: str
    access: str = "public"


@dataclass
class Fault:
    """Goes wrong at paths that end so, `times` times."""

    where: str
    times: int = 1

    def strike(self, path: str) -> bool:
        if not self.times or not path.endswith(self.where):
            return False
        self.times -= 1
        return True


@dataclass
class Status(Fault):
    """Answers with this status. headers: beside it, such as Retry-After."""

    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Cut(Fault):
    """Ends the connection after so many bytes of the body."""

    after: int = 0


@dataclass
class Corrupt(Fault):
    """Sends other bytes, as many as are right."""


@dataclass
class WrongRange(Fault):
    """Answers 206 with bytes from another place than was asked for."""


@dataclass
class NoRange(Fault):
    """Answers with the whole file whatever was asked for."""


@dataclass
class Longer(Fault):
    """Sends more than there is, without a length."""


@dataclass
class Loop(Fault):
    """Redirects to itself."""


@dataclass
class Held(Fault):
    """Stops in the middle of the body until `go` is set; `reached` says that it has."""

    after: int = 0
    go: threading.Event = field(default_factory=threading.Event)
    reached: threading.Event = field(default_factory=threading.Event)


class HubServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[str, Repository] = {}
        self.faults: list[Fault] = []
        self.token = "hf_right"
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.sent_bytes = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def cdn_url(self) -> str:
        return f"http://localhost:{self.server_port}/cdn"

    def add(self, repo: str, files: dict[str, bytes], access: str = "public") -> Repository:
        """Puts a commit of a repository there, whose name follows from what it holds."""
        named = json.dumps([repo, sorted((p, _sha256(c)) for p, c in files.items())])
        commit = hashlib.sha1(named.encode()).hexdigest()
        self.repositories[repo] = Repository(files, commit, access)
        return self.repositories[repo]

    def downloads(self) -> list[str]:
        """Paths of files that were asked for, in order."""
        return [path for _, path, _ in self.asked if "/resolve/" in path]

    def fault(self, kind: type[Fault], path: str) -> Any:
        for fault in self.faults:
            if isinstance(fault, kind) and fault.strike(path):
                return fault
        return None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for fault in self.faults:
            if isinstance(fault, Held):
                fault.go.set()
        self.shutdown()
        self.server_close()
        self._thread.join()

    def handle_error(self, *_: object) -> None:
        """Clients that are killed close their connections: nothing to print."""


class Handler(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Tests read what a command prints; the server stays silent."""

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append((self.command, path, dict(self.headers)))
        if path.startswith("/cdn/"):
            self._content(path)
        elif path.startswith("/api/models/"):
            self._info(path)
        elif "/resolve/" in path:
            self._resolve(path)
        else:
            self._refuse(404, "RepoNotFound")

    do_HEAD = do_GET  # noqa: N815 (its caller's name)

    def _info(self, path: str) -> None:
        repo, _, revision = path.removeprefix("/api/models/").partition("/revision/")
        if (found := self._opened(repo, path)) is None:
            return
        if revision not in {"main", found.commit}:
            self._refuse(404, "RevisionNotFound")
            return
        siblings = [_sibling(path, content) for path, content in found.files.items()]
        body = json.dumps({"id": repo, "sha": found.commit, "siblings": siblings}).encode()
        self._send(200, body, {"content-type": "application/json"})

    def _resolve(self, path: str) -> None:
        repo, _, rest = path.lstrip("/").partition("/resolve/")
        commit, _, name = rest.partition("/")
        if (found := self._opened(repo, path)) is None:
            return
        if commit != found.commit or name not in found.files:
            self._refuse(404, "EntryNotFound")
            return
        if self.server.fault(Loop, path):
            self._send(302, b"", {"location": self.path})
            return
        headers = {"x-repo-commit": found.commit}
        content = found.files[name]
        if _is_lfs(name):
            headers |= {
                "x-linked-etag": f'"{_sha256(content)}"',
                "x-linked-size": str(len(content)),
                "location": f"{self.server.cdn_url}/{repo}/{commit}/{name}",
            }
            self._send(302, b"", headers)
            return
        self._send_content(path, content, headers | {"etag": f'"{_blob_id(content)}"'})

    def _content(self, path: str) -> None:
        assert "authorization" not in self.headers, "a token left the hub"
        owner, name, _, rest = path.removeprefix("/cdn/").split("/", 3)
        content = self.server.repositories[f"{owner}/{name}"].files[rest]
        self._send_content(path, content, {"etag": f'"{_sha256(content)}"'})

    def _opened(self, repo: str, path: str) -> Repository | None:
        """The repository, if whoever asks may read it."""
        if fault := self.server.fault(Status, path):
            self._send(fault.status, b"no", fault.headers)
            return None
        found = self.server.repositories.get(repo)
        has_token = self.headers.get("authorization") == f"Bearer {self.server.token}"
        if found is None or (found.access == "private" and not has_token):
            self._refuse(401 if "authorization" not in self.headers else 404, "RepoNotFound")
            return None
        if found.access == "gated" and not has_token and "/resolve/" in path:
            self._refuse(401 if "authorization" not in self.headers else 403, "GatedRepo")
            return None
        return found

    def _send_content(self, path: str, content: bytes, headers: dict[str, str]) -> None:
        first = self._first_byte(path)
        body = content[first:]
        if first or "range" in self.headers:
            headers["content-range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        if self.server.fault(Corrupt, path):
            body = bytes(byte ^ 255 for byte in body)
        if self.server.fault(Longer, path):
            self._send(200, content + b"more", headers)
            return
        self._send(206 if "content-range" in headers else 200, body, headers, path)

    def _first_byte(self, path: str) -> int:
        asked = self.headers.get("range", "bytes=0-").removeprefix("bytes=").rstrip("-")
        if self.server.fault(NoRange, path):
            del self.headers["range"]
            return 0
        return int(asked) + (7 if self.server.fault(WrongRange, path) else 0)

    def _refuse(self, status: int, code: str) -> None:
        self._send(status, b'{"error": "refused"}', {"x-error-code": code})

    def _send(self, status: int, body: bytes, headers: dict[str, str], path: str = "") -> None:
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if path and (cut := self.server.fault(Cut, path)):
            self._write(body[: cut.after])
            self.close_connection = True
            return
        if path and (held := self.server.fault(Held, path)):
            self._write(body[: held.after])
            held.reached.set()
            held.go.wait(60)
            body = body[held.after :]
        self._write(body)

    def _write(self, body: bytes) -> None:
        self.wfile.write(body)
        self.wfile.flush()
        self.server.sent_bytes += len(body)


def _sibling(path: str, content: bytes) -> dict[str, Any]:
    known = {"rfilename": path, "size": len(content), "blobId": _blob_id(content)}
    if _is_lfs(path):
        known["lfs"] = {"sha256": _sha256(content), "size": len(content), "pointerSize": 134}
    return known


def _is_lfs(path: str) -> bool:
    return path.endswith(LFS_SUFFIXES)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _blob_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
