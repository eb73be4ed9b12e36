"""Prompts to token ids: rendering, tokenizing and their checks."""

import asyncio
from dataclasses import dataclass, replace

from engine.api import (
    ChatPrompt,
    EngineError,
    FillPrompt,
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
from engine.text.guard import guard_of, without_marks
from engine.text.library import Library, TextModel
from engine.text.pairs import ROLES, encode_prompt, fixed_prompt, has_roles
from engine.text.template import Renderer, Templates, choose_template
from engine.text.tokenizer import Tokenizer

MAX_CHARS = 16 * 2**20


@dataclass(frozen=True, slots=True)
class PreparedPrompt:
    """A prompt as the model reads it. text: as an echo shows it; None to detokenize it then.

    first_length: tokens of the first text of a pair. chat: how a chat's answer is to be read.
    vocab_size: the model's. end_ids: tokens that end this answer, beside those that end any.
    """

    tokenizer: Tokenizer
    token_ids: list[int]
    text: str | None = None
    first_length: int | None = None
    chat: ChatFormat | None = None
    vocab_size: int = 0
    end_ids: frozenset[int] = frozenset()

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
        match prompt:
            case TokenPrompt():
                return PreparedPrompt(tokenizer, prompt.token_ids)
            case PairPrompt():
                return await self._read_pair(model, source, prompt)
            case FillPrompt():
                return await self._read_fill(model, prompt)
            case TextPrompt():
                text = prompt.text
            case ChatPrompt():
                return await self._read_chat(model, source.chat_template, prompt)
        _check_length(len(text), _field(prompt))
        # Raw prompts may spell control tokens, as elsewhere.
        add_bos, allow_special = prompt.adds_bos, prompt.spells_control
        token_ids = await asyncio.to_thread(
            tokenizer.encode, text, add_bos=add_bos, allow_special=allow_special
        )
        if prompt.max_tokens is not None:
            suffix = tokenizer.suffix_ids if add_bos else ()
            token_ids = _cut_to(prompt.max_tokens, token_ids, suffix)
        return PreparedPrompt(tokenizer, token_ids, text)

    async def _read_chat(
        self, model: TextModel, configured: str | None, prompt: ChatPrompt
    ) -> PreparedPrompt:
        # A template writes its own BOS.
        rendered, chat = await self._render(model, configured, prompt)
        text = without_marks(rendered)
        _check_length(len(text), _field(prompt))
        template = choose_template(_templates(model, configured), prompt)
        names = guard_of(model.tokenizer, template).names
        token_ids = await asyncio.to_thread(model.tokenizer.encode_guarded, rendered, names)
        return PreparedPrompt(model.tokenizer, token_ids, text, chat=chat)

    async def _read_pair(
        self, model: TextModel, source: TextSource, pair: PairPrompt
    ) -> PreparedPrompt:
        _check_length(len(pair.first) + len(pair.second), _field(pair))
        tokenizer, asked = model.tokenizer, fixed_prompt(model.templates, model.tokenizer)
        if has_roles(model.templates):
            rendered, _ = await self._render(model, source.chat_template, ChatPrompt(ROLES))
            asked = without_marks(rendered)
        if asked is not None:
            given = tokenizer, asked, pair.first, pair.second
            return PreparedPrompt(tokenizer, await asyncio.to_thread(encode_prompt, *given))
        token_ids, first_length = await asyncio.to_thread(
            tokenizer.encode_pair, pair.first, pair.second
        )
        return PreparedPrompt(tokenizer, token_ids, first_length=first_length)

    async def _read_fill(self, model: TextModel, fill: FillPrompt) -> PreparedPrompt:
        if model.filler is None:
            raise EngineError("bad_request", "the model cannot fill in the middle", "suffix")
        texts = [fill.prefix, fill.suffix, *(snippet.text for snippet in fill.snippets)]
        _check_length(sum(map(len, texts)), _field(fill))
        token_ids = await asyncio.to_thread(model.filler.lay_out, fill, model.tokenizer)
        return PreparedPrompt(model.tokenizer, token_ids, end_ids=model.filler.ends)

    async def _render(
        self, model: TextModel, configured: str | None, prompt: ChatPrompt
    ) -> tuple[str, ChatFormat]:
        """The prompt with the marks of its guard, and how its answer is to be read."""
        templates = _templates(model, configured)
        template = choose_template(templates, prompt)
        guarded = guard_of(model.tokenizer, template).prompt(prompt)
        names = {"bos_token": model.tokenizer.bos_token, "eos_token": model.tokenizer.eos_token}
        text = await self._renderer.render(templates, guarded, **names)
        if prompt.continues:
            text = _cut_behind(text, guarded.messages[-1]["content"])
        return text, find_format(template, without_marks(text), prompt.tools)


def _templates(model: TextModel, configured: str | None) -> Templates:
    return model.templates if configured is None else {"default": configured}


def _cut_behind(text: str, words: str) -> str:
    """A rendered chat without what its template writes behind the last message's words.

    Templates may trim them, so they are found without the white space round them.
    """
    core = words.strip()
    start = text.rfind(core)
    if not core or start < 0:
        message = "the chat template does not show the last message as it is"
        raise EngineError("template_failed", message, "continue_final_message")
    behind = words[len(words.rstrip()) :]
    cut = text[: start + len(core)]
    return cut + behind if text[len(cut) :].startswith(behind) else cut


def _cut_to(max_tokens: int, token_ids: list[int], suffix: tuple[int, ...]) -> list[int]:
    """At most so many of a text's ids, the suffix at their end among them, as in training."""
    if len(token_ids) <= max_tokens:
        return token_ids
    return [*token_ids[: max(0, max_tokens - len(suffix))], *suffix][:max_tokens]


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
