"""Prompts to token ids: rendering, tokenizing and their checks."""

import asyncio
from dataclasses import dataclass, replace

from engine.api import (
    ChatPrompt,
    EngineError,
    Grammar,
    PairPrompt,
    Prompt,
    Spelling,
    TextPrompt,
    TextSource,
    TokenPrompt,
)
from engine.text.chat_format import ChatFormat, find_format
from engine.text.detokenizer import Detokenizer
from engine.text.grammar_checks import GrammarChecks
from engine.text.grammars import vocabulary_of
from engine.text.library import Library, TextModel
from engine.text.template import Renderer, choose_template
from engine.text.tokenizer import Tokenizer

MAX_CHARS = 16 * 2**20


@dataclass(frozen=True, slots=True)
class PreparedPrompt:
    """A prompt as the model reads it. text: as an echo shows it; None to detokenize it then.

    first_length: tokens of the first text of a pair. chat: how a chat's answer is to be read.
    vocab_size: the model's.
    """

    tokenizer: Tokenizer
    token_ids: list[int]
    text: str | None = None
    first_length: int | None = None
    chat: ChatFormat | None = None
    vocab_size: int = 0

    @property
    def echo(self) -> str:
        if self.text is not None:
            return self.text
        detokenizer = Detokenizer(self.tokenizer, starts_text=True)
        return "".join(map(detokenizer.push, self.token_ids)) + detokenizer.flush()

    @property
    def spelling(self) -> Spelling:
        pieces = [self.tokenizer.token_bytes(token_id) for token_id in self.token_ids]
        text = b"".join(pieces).decode(errors="replace") if self.text is None else self.text
        return Spelling(text, pieces)


class PromptReader:
    """Prepares prompts, the slow parts off the event loop."""

    def __init__(self, library: Library, renderer: Renderer) -> None:
        self._library = library
        self._renderer = renderer
        self._checks = GrammarChecks()

    async def prepare(self, source: TextSource, prompt: Prompt) -> PreparedPrompt:
        """Raises `EngineError` for a prompt that the model cannot read."""
        model = self._library.kept(source.digest)
        if model is None:
            model = await asyncio.to_thread(self._library.get, source)
        prepared = await self._read(model, source, prompt)
        _check(prepared.token_ids, source.vocab_size, _field(prompt))
        return replace(prepared, vocab_size=source.vocab_size)

    async def check(self, source: TextSource, grammar: Grammar) -> None:
        """Raises `EngineError` for a grammar that this model's texts cannot follow."""
        model = await asyncio.to_thread(self._library.get, source)
        await self._checks.check(grammar)
        await asyncio.to_thread(vocabulary_of, model.tokenizer, source.vocab_size)

    def close(self) -> None:
        """Ends the processes that help it."""
        self._checks.close()

    async def _read(self, model: TextModel, source: TextSource, prompt: Prompt) -> PreparedPrompt:
        tokenizer = model.tokenizer
        chat: ChatFormat | None = None
        match prompt:
            case TokenPrompt():
                return PreparedPrompt(tokenizer, prompt.token_ids)
            case PairPrompt():
                return await self._read_pair(tokenizer, prompt)
            case TextPrompt():
                text = prompt.text
            case ChatPrompt():
                text, chat = await self._render(model, source.chat_template, prompt)
        _check_length(len(text), _field(prompt))
        # A template writes its own BOS. Raw prompts may spell control tokens, as elsewhere.
        add_bos = isinstance(prompt, TextPrompt) and prompt.adds_bos
        allow_special = not isinstance(prompt, TextPrompt) or prompt.spells_control
        token_ids = await asyncio.to_thread(
            tokenizer.encode, text, add_bos=add_bos, allow_special=allow_special
        )
        return PreparedPrompt(tokenizer, token_ids, text, chat=chat)

    async def _read_pair(self, tokenizer: Tokenizer, pair: PairPrompt) -> PreparedPrompt:
        _check_length(len(pair.first) + len(pair.second), _field(pair))
        token_ids, first_length = await asyncio.to_thread(
            tokenizer.encode_pair, pair.first, pair.second
        )
        return PreparedPrompt(tokenizer, token_ids, first_length=first_length)

    async def _render(
        self, model: TextModel, configured: str | None, prompt: ChatPrompt
    ) -> tuple[str, ChatFormat]:
        templates = model.templates if configured is None else {"default": configured}
        names = {"bos_token": model.tokenizer.bos_token, "eos_token": model.tokenizer.eos_token}
        text = await self._renderer.render(templates, prompt, **names)
        return text, find_format(choose_template(templates, prompt), text, prompt.tools)


def _check_length(num_chars: int, param: str) -> None:
    if num_chars > MAX_CHARS:
        message = f"the prompt has {num_chars} characters, limit {MAX_CHARS}"
        raise EngineError("bad_request", message, param)


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
