"""An OpenAI server that costs next to nothing: what a proxy is put in front of.

    python bench/stub_openai.py

Prints its URL. It knows chats with the models of `stub_reply`, and reads no more of a request than
it needs.
"""

import asyncio
import json
from typing import Any, cast

import uvloop
from stub_reply import NUM_PROMPT, PACED, Steps, word

_HEAD = "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n{length}\r\n\r\n"


def _event(model: str, choice: dict[str, Any]) -> bytes:
    """One event, as a chunk of HTTP's own."""
    shell = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model}
    return _chunk(f"data: {json.dumps({**shell, 'choices': [{'index': 0, **choice}]})}\n\n")


def _chunk(text: str) -> bytes:
    return f"{len(text):x}\r\n{text}\r\n".encode()


_OPENING = _event(PACED, {"delta": {"role": "assistant", "content": ""}, "finish_reason": None})
_TOKENS = [
    _event(PACED, {"delta": {"content": word(number)}, "finish_reason": None})
    for number in range(2)
]
_CLOSING = _event(PACED, {"delta": {}, "finish_reason": "length"})
_CLOSING += _chunk("data: [DONE]\n\n") + b"0\r\n\r\n"


def _whole(model: str, num_tokens: int) -> bytes:
    """A reply that does not stream, head and all."""
    message = {"role": "assistant", "content": "".join(map(word, range(num_tokens)))}
    used = {"prompt_tokens": NUM_PROMPT, "completion_tokens": num_tokens}
    body = json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": model,
            "choices": [{"index": 0, "message": message, "finish_reason": "length"}],
            "usage": {**used, "total_tokens": NUM_PROMPT + num_tokens},
        }
    )
    head = _HEAD.format(kind="application/json", length=f"content-length: {len(body)}")
    return (head + body).encode()


class Connection(asyncio.Protocol):
    """One client, which asks again when it was answered."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._came = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._came += data
        head, found, body = self._came.partition(b"\r\n\r\n")
        if not found or len(body) < _length(head):
            return
        self._came = b""
        self._answer(json.loads(body))

    def _answer(self, asked: dict[str, Any]) -> None:
        model, num_left = asked["model"], asked["max_tokens"]
        if not asked.get("stream"):
            self._transport.write(_whole(model, num_left))
            return
        head = _HEAD.format(kind="text/event-stream", length="transfer-encoding: chunked")
        self._transport.write(head.encode() + _OPENING)

        def write() -> bool:
            nonlocal num_left
            num_left -= 1
            self._transport.write(_TOKENS[num_left % 2] + (b"" if num_left else _CLOSING))
            return num_left > 0 and not self._transport.is_closing()

        self._steps.run(model, write)


def _length(head: bytes) -> int:
    """Of a request's body, as its head says."""
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


async def serve() -> None:
    steps = Steps()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(steps), "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    print(f"http://{host}:{port}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve())
