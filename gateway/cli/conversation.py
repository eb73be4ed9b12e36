"""A conversation with one model after another, over HTTP; knows nothing of the terminal."""

from collections.abc import Generator, Iterator
from contextlib import closing

from gateway.cli.server import Json, OnComment, Server

COMPLETION_TOKENS = 256  # a model that only completes seldom stops by itself


class Conversation:
    """Turns with a model. `history` is what chat models are told; it outlives a switch of model."""

    def __init__(self, server: Server, name: str, temperature: float | None = None) -> None:
        """temperature: None leaves it to the server."""
        self.server = server
        self.temperature = temperature
        self.history: list[Json] = []
        self.model = ""
        self.can_chat = False
        self.switch(name)

    def switch(self, name: str) -> None:
        """From now on speak with another model. Raises CommandError if the server has it not."""
        model = self.server.model(name)
        self.model = str(model["id"])
        self.can_chat = "chat" in model.get("tasks", ())

    def say(self, text: str, on_comment: OnComment) -> Generator[str, None, None]:
        """The answer as it comes. What came of it is remembered, even if the caller stops early.

        A turn that fails before its first word leaves no trace, so that it can be said again.
        """
        return self._chat(text, on_comment) if self.can_chat else self._complete(text, on_comment)

    def _chat(self, text: str, on_comment: OnComment) -> Generator[str, None, None]:
        message = {"role": "user", "content": text}
        body = {"model": self.model, "messages": [*self.history, message]}
        answer = ""
        try:
            for choice in self._choices("/v1/chat/completions", body, on_comment):
                piece = choice["delta"].get("content") or ""
                answer += piece
                yield piece
        finally:
            if answer:
                self.history += [message, {"role": "assistant", "content": answer}]

    def _complete(self, text: str, on_comment: OnComment) -> Generator[str, None, None]:
        body = {"model": self.model, "prompt": text, "max_tokens": COMPLETION_TOKENS}
        for choice in self._choices("/v1/completions", body, on_comment):
            yield choice["text"]

    def _choices(self, path: str, body: Json, on_comment: OnComment) -> Iterator[Json]:
        body |= {} if self.temperature is None else {"temperature": self.temperature}
        # Closed at once when the caller stops early: that is what stops the generation.
        with closing(self.server.stream(path, body, on_comment)) as chunks:
            for chunk in chunks:
                yield from chunk["choices"]
