"""A loopback HTTP server that speaks the shapes which the commands need."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

CHAT = {
    "id": "org/chat-model",
    "state": "loaded",
    "tasks": ["chat", "completion"],
    "family": "llama",
    "quantization": "Q4_1",
    "parameters": 134_515_008,
    "bytes": 98_362_432,
    "context_length": 8192,
}
BASE = CHAT | {"id": "base-model", "state": "unloaded", "tasks": ["completion"]}


class Loopback(ThreadingHTTPServer):
    """Answers from `routes`: path -> (status, body).

    asked: what came, in order. keys: what was shown for it.
    pieces: the text of streamed answers. thoughts: what comes before it. usage: what comes last.
    held: when set, a stream stops after its first piece until the client leaves or the test ends.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.routes: dict[str, tuple[int, Any]] = {"/v1/models": (200, {"data": [CHAT, BASE]})}
        for model in (CHAT, BASE):
            self.routes[f"/v1/models/{model['id']}"] = (200, model)
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.pieces = ["Par", "is."]
        self.thoughts: list[str] = []
        self.usage: dict[str, int] | None = None
        self.ending = "data: [DONE]\n\n"
        self.is_held = False
        self.end = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def refuse(self, path: str, status: int, message: str) -> None:
        self.routes[path] = (status, {"error": {"message": message}})


class Handler(BaseHTTPRequestHandler):
    server: Loopback

    def log_message(self, *_: object) -> None:
        """Tests read what a command prints; the server stays silent."""

    def do_GET(self) -> None:
        self.server.keys.append(self.headers["Authorization"])
        status, body = self.server.routes.get(self.path, (404, "<h1>Not here</h1>"))
        self._send(status, body if isinstance(body, str) else json.dumps(body))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(body)
        if self.path in self.server.routes:
            self.do_GET()
            return
        to_choice = _delta if self.path == "/v1/chat/completions" else _text
        self._begin(200, None)
        self._write(": loading 43 %\n\n")
        for thought in self.server.thoughts:
            choice = {"index": 0, "delta": {"reasoning_content": thought}}
            self._write(f"data: {json.dumps({'choices': [choice]})}\n\n")
        for piece in self.server.pieces:
            self._write(f"data: {json.dumps({'choices': [to_choice(piece)]})}\n\n")
            self._hold()
        if self.server.usage:
            self._write(f"data: {json.dumps({'choices': [], 'usage': self.server.usage})}\n\n")
        self._write(self.server.ending)

    def _hold(self) -> None:
        """Says that it is there, as the real server does, and nothing else."""
        while self.server.is_held and not self.server.end.wait(0.1):
            self._write(": still here\n\n")

    def _send(self, status: int, text: str) -> None:
        self._begin(status, len(text.encode()))
        self._write(text)

    def _begin(self, status: int, length: int | None) -> None:
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def _write(self, text: str) -> None:
        self.wfile.write(text.encode())
        self.wfile.flush()


def _delta(piece: str) -> dict[str, Any]:
    return {"index": 0, "delta": {"content": piece}}


def _text(piece: str) -> dict[str, Any]:
    return {"index": 0, "text": piece}


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    with Loopback() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.end.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def roundhouse(
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., str]:
    """Runs a command in this process and gives what it printed."""
    from gateway.__main__ import main

    def call(*arguments: str) -> str:
        main(arguments)
        return capsys.readouterr().out

    return call
