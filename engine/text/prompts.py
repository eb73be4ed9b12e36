"""Prompts to token ids: rendering, tokenizing and their checks."""

import asyncio
from dataclasses import dataclass

from engine.api import ChatPrompt, EngineError, Prompt, TextPrompt, TextSource, TokenPrompt
from engine.text.detokenizer import Detokenizer
from engine.text.library import Library, TextModel
from engine.text.template import Renderer
from engine.text.tokenizer import Tokenizer

MAX_CHARS = 16 * 2**20


@dataclass(frozen=True, slots=True)
class PreparedPrompt:
    """A prompt as the model reads it. text: as an echo shows it; None to detokenize it then."""

    tokenizer: Tokenizer
    token_ids: list[int]
    text: str | None = None

    @property
    def echo(self) -> str:
        if self.text is not None:
            return self.text
        detokenizer = Detokenizer(self.tokenizer, starts_text=True)
        return "".join(map(detokenizer.push, self.token_ids)) + detokenizer.flush()


class PromptReader:
    """Prepares prompts, the slow parts off the event loop."""

    def __init__(self, library: Library, renderer: Renderer) -> None:
        self._library = library
        self._renderer = renderer

    async def prepare(self, source: TextSource, prompt: Prompt) -> PreparedPrompt:
        """Raises `EngineError` for a prompt that the model cannot read."""
        model = self._library.kept(source.digest)
        if model is None:
            model = await asyncio.to_thread(self._library.get, source)
        prepared = await self._read(model, source, prompt)
        _check(prepared.token_ids, source.vocab_size, _field(prompt))
        return prepared

    async def _read(self, model: TextModel, source: TextSource, prompt: Prompt) -> PreparedPrompt:
        tokenizer = model.tokenizer
        match prompt:
            case TokenPrompt():
                return PreparedPrompt(tokenizer, prompt.token_ids)
            case TextPrompt():
                text = prompt.text
            case ChatPrompt():
                text = await self._render(model, source.chat_template, prompt)
        if len(text) > MAX_CHARS:
            message = f"the prompt has {len(text)} characters, limit {MAX_CHARS}"
            raise EngineError("bad_request", message, _field(prompt))
        # A template writes its own BOS. Raw prompts may spell control tokens, as elsewhere.
        add_bos = isinstance(prompt, TextPrompt)
        token_ids = await asyncio.to_thread(
            tokenizer.encode, text, add_bos=add_bos, allow_special=True
        )
        return PreparedPrompt(tokenizer, token_ids, text)

    async def _render(self, model: TextModel, configured: str | None, prompt: ChatPrompt) -> str:
        templates = model.templates if configured is None else {"default": configured}
        names = {"bos_token": model.tokenizer.bos_token, "eos_token": model.tokenizer.eos_token}
        return await self._renderer.render(templates, prompt, **names)


def _check(token_ids: list[int], vocab_size: int, param: str) -> None:
    if not token_ids:
        raise EngineError("bad_request", "the prompt is empty", param)
    for token_id in (min(token_ids), max(token_ids)):
        if not 0 <= token_id < vocab_size:
            message = f"token id {token_id} is outside the vocabulary of {vocab_size}"
            raise EngineError("bad_request", message, param)


def _field(prompt: Prompt) -> str:
    """The request's field that a prompt comes from."""
    return "messages" if isinstance(prompt, ChatPrompt) else "prompt"
