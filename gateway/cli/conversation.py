"""A conversation with one model after another, over HTTP; knows nothing of the terminal."""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass

from gateway.cli.errors import CommandError
from gateway.cli.server import Json, OnComment, Server

COMPLETION_TOKENS = 256  # a model that only completes seldom stops by itself

OnThought = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Figures:
    """Of an answer that came to its end. first_seconds: until its first token, thoughts included."""

    num_tokens: int
    first_seconds: float
    seconds: float

    @property
    def tokens_per_second(self) -> float:
        """After the first; 0 where there was no second."""
        decoding = self.seconds - self.first_seconds
        return (self.num_tokens - 1) / decoding if decoding > 0 else 0.0


class Conversation:
    """Turns with a model. `history` is what chat models are told; it outlives a switch of model.

    system: told before it all. options: further fields of each request. figures: of the last answer,
    None if it was stopped.
    """

    def __init__(self, server: Server, name: str, temperature: float | None = None) -> None:
        """temperature: None leaves it to the server."""
        self.server = server
        self.options: Json = {} if temperature is None else {"temperature": temperature}
        self.system = ""
        self.history: list[Json] = []
        self.figures: Figures | None = None
        self.model = ""
        self.can_chat = False
        self.switch(name)

    def switch(self, name: str) -> None:
        """From now on speak with another model. Raises CommandError if the server has it not."""
        model = self.server.model(name)
        self.model = str(model["id"])
        self.can_chat = "chat" in model.get("tasks", ())

    def say(
        self, text: str, on_comment: OnComment, on_thought: OnThought = lambda _: None
    ) -> Generator[str, None, None]:
        """The answer as it comes. What came of it is remembered, even if the caller stops early.

        A turn that fails before its first word leaves no trace, so that it can be said again.
        """
        if self.can_chat:
            return self._chat(text, on_comment, on_thought)
        return self._complete(text, on_comment)

    def take_back(self) -> str:
        """Forgets the last turn and gives what was said. Raises CommandError if there is none."""
        if not self.history:
            raise CommandError("nothing was said yet that could be said again")
        *self.history, message, _ = self.history
        return str(message["content"])

    def _chat(
        self, text: str, on_comment: OnComment, on_thought: OnThought
    ) -> Generator[str, None, None]:
        message = {"role": "user", "content": text}
        told = [{"role": "system", "content": self.system}] if self.system else []
        body = {"model": self.model, "messages": [*told, *self.history, message]}
        answer = ""
        try:
            for choice in self._choices("/v1/chat/completions", body, on_comment):
                if thought := choice["delta"].get("reasoning_content"):
                    on_thought(thought)
                if piece := choice["delta"].get("content"):
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
        body |= {**self.options, "stream_options": {"include_usage": True}}
        first, usage = 0.0, dict[str, int]()
        self.figures = None
        started = time.monotonic()
        # Closed at once when the caller stops early: that is what stops the generation.
        with closing(self.server.stream(path, body, on_comment)) as chunks:
            for chunk in chunks:
                first = first or time.monotonic() - started
                usage = chunk.get("usage") or usage
                yield from chunk["choices"]
        if num_tokens := usage.get("completion_tokens", 0):
            self.figures = Figures(num_tokens, first, time.monotonic() - started)
