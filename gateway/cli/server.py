"""The running server, as the commands see it: over HTTP, like any other client."""

import json
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, Self
from urllib.parse import quote

import httpx

from gateway.cli.errors import CommandError
from gateway.cli.url import DEFAULT_URL

# A swap may take long, but the server sends a comment every few seconds while it does.
TIMEOUT = httpx.Timeout(60, connect=5)
KEY_VARIABLE = "ROUNDHOUSE_API_KEY"

Json = dict[str, Any]
OnComment = Callable[[str], None]


class Server:
    """Every method raises `CommandError` when the server is not there or refuses.

    Its key, if it wants one, is in `ROUNDHOUSE_API_KEY`: an argument would be seen by everybody.
    """

    def __init__(self, url: str = DEFAULT_URL) -> None:
        self.url = url.rstrip("/").removesuffix("/v1")
        key = os.environ.get(KEY_VARIABLE, "").strip()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        # No proxy from the environment: the server is nearly always on this machine.
        self._http = httpx.Client(timeout=TIMEOUT, trust_env=False, headers=headers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def models(self) -> list[Json]:
        """What `GET /v1/models` lists."""
        data = self._get("/v1/models").get("data")
        if not isinstance(data, list):
            raise self._not_ours()
        return data

    def model(self, name: str) -> Json:
        return self._get(f"/v1/models/{quote(name)}")

    def post(self, path: str, body: Json) -> Json:
        with self._errors():
            reply = self._http.post(self.url + path, json=body)
            if reply.is_error:
                raise CommandError(_message(reply))
            return self._object(reply.text)

    def text(self, path: str) -> str:
        """What a route answers that speaks no JSON."""
        with self._errors():
            reply = self._http.get(self.url + path)
            if reply.is_error:
                raise CommandError(_message(reply))
            return reply.text

    def stream(self, path: str, body: Json, on_comment: OnComment) -> Generator[Json, None, None]:
        """Posts and yields the chunks of the answer as they come.

        Comments, which tell of a model being loaded, go to `on_comment`. Closing the iterator
        stops the generation.
        """
        with (
            self._errors(),
            self._http.stream("POST", self.url + path, json=body | {"stream": True}) as reply,
        ):
            if reply.is_error:
                reply.read()
                raise CommandError(_message(reply))
            for line in reply.iter_lines():
                if line.startswith(":"):
                    on_comment(line[1:].strip())
                elif line.startswith("data:") and (data := line[5:].strip()) != "[DONE]":
                    yield self._chunk(data)

    def _get(self, path: str) -> Json:
        with self._errors():
            reply = self._http.get(self.url + path)
            if reply.is_error:
                raise CommandError(_message(reply))
            return self._object(reply.text)

    def _chunk(self, data: str) -> Json:
        chunk = self._object(data)
        if error := chunk.get("error"):
            raise CommandError(str(error["message"]))
        if not isinstance(chunk.get("choices"), list):
            raise self._not_ours()
        return chunk

    def _object(self, text: str) -> Json:
        try:
            value = json.loads(text)
        except ValueError:
            raise self._not_ours() from None
        if not isinstance(value, dict):
            raise self._not_ours()
        return value

    def _not_ours(self) -> CommandError:
        return CommandError(f"{self.url} answers, but not as Roundhouse does: is --url right?")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (httpx.UnsupportedProtocol, httpx.InvalidURL):
            raise CommandError(f"{self.url} is no URL such as {DEFAULT_URL}") from None
        except (httpx.ConnectError, httpx.ConnectTimeout):
            raise CommandError(
                f"no server at {self.url}: start it with 'roundhouse serve', "
                "or name another with --url"
            ) from None
        except httpx.TransportError as error:
            raise CommandError(f"the connection to {self.url} broke: {error}") from None


def _message(reply: httpx.Response) -> str:
    try:
        message = str(reply.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        message = f"{reply.request.url} answers {reply.status_code} {reply.reason_phrase}"
    if reply.status_code == httpx.codes.UNAUTHORIZED:
        return f"{message} Set {KEY_VARIABLE} to a key of the server."
    return message
