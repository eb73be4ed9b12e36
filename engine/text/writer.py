"""One sequence's tokens to deltas."""

from typing import cast

from engine.api import Delta, FinishReason, Generation, Run, Spent, TokenLogprob, TopLogprob, Usage
from engine.text.detokenizer import Detokenizer
from engine.text.held import HeldTokens, Token
from engine.text.parts import Parts, PartsReader
from engine.text.prompts import PreparedPrompt
from engine.text.stop import StopMatcher
from engine.text.tokenizer import Tokenizer
from engine.wire import Logprob, Output


class Writer:
    """Turns a worker's outputs for one sequence into deltas: pure, one call per output.

    Tokens become text; stop strings end it; what is left is split into thoughts, words and calls.
    Logprobs are of the words alone.
    """

    def __init__(self, prompt: PreparedPrompt, run: Run) -> None:
        self._prompt = prompt
        self._tokenizer = prompt.tokenizer
        self._index = run.index
        self._generation = run.generation
        self._parts = _parts_reader(prompt, run.generation)
        self._detokenizer = Detokenizer(
            prompt.tokenizer,
            starts_text=_is_silent(prompt),
            shown=_shown_ids(prompt) if self._parts else frozenset(),
        )
        self._stops = StopMatcher(run.generation.stop)
        self._stop_string: str | None = None
        self._prompt_logprobs: list[TokenLogprob] = []
        self._is_prompt_sent = False
        self._held = HeldTokens()
        self._num_generated = 0
        self._num_decoded_chars = 0
        self._num_shown_chars = 0
        self._num_thought = 0
        self._cached_tokens = 0
        self._tried = (0, 0)
        self._spent = Spent()

    def write(self, output: Output) -> tuple[Delta | None, bool]:
        """What to send, if anything, and whether a stop string has ended the sequence.

        A delta with a finish_reason or a failure is the last.
        """
        if output.failure is not None:
            return Delta(self._index, failure=output.failure), False
        self._cached_tokens = max(self._cached_tokens, output.cached_tokens)
        self._tried = (output.accepted_tokens, output.rejected_tokens)
        self._spent = output.spent or self._spent
        if output.prompt_logprobs:
            self._take_prompt_logprobs(output.prompt_logprobs)
        echo, prompt_logprobs = self._prompt_part(is_last=output.finish_reason is not None)
        shown, is_stopped = self._generated_part(output)
        reason = "stop" if is_stopped else output.finish_reason
        parts = self._read(shown, is_last=reason is not None)
        tokens = self._held.release(
            self._num_settled, is_stopped=is_stopped, is_last=reason is not None
        )
        if not (echo or prompt_logprobs or parts or tokens or reason):
            return None, False
        logprobs = self._logprobs(tokens)
        if reason == "stop" and not is_stopped and self._parts and self._parts.num_calls:
            reason = "tool_calls"
        delta = Delta(
            self._index,
            text=echo + parts.text,
            reasoning=parts.reasoning,
            tool_calls=parts.tool_calls,
            token_ids=[token.token_id for token in tokens],
            logprobs=prompt_logprobs + logprobs,
            finish_reason=cast("FinishReason | None", reason),
            usage=self._usage() if reason else None,
            stop_string=self._stop_string,
        )
        return delta, is_stopped

    # --- the prompt -----------------------------------------------------------------------------

    def _take_prompt_logprobs(self, logprobs: list[Logprob]) -> None:
        """Chunked prefill brings them over several steps, in order."""
        start = len(self._prompt_logprobs)
        token_ids = self._prompt.token_ids[start : start + len(logprobs)]
        self._prompt_logprobs += [
            _token_logprob(self._tokenizer, token_id, logprob)
            for token_id, logprob in zip(token_ids, logprobs, strict=True)
        ]

    def _prompt_part(self, *, is_last: bool) -> tuple[str, list[TokenLogprob]]:
        """The echo and the prompt's logprobs, once and together."""
        if self._is_prompt_sent:
            return "", []
        is_complete = not self._generation.sampling.prompt_logprobs or len(
            self._prompt_logprobs
        ) == len(self._prompt.token_ids)
        if not (is_complete or is_last):
            return "", []
        self._is_prompt_sent = True
        return self._prompt.echo if self._generation.echo else "", self._prompt_logprobs

    # --- what is generated ----------------------------------------------------------------------

    def _generated_part(self, output: Output) -> tuple[str, bool]:
        """The text that can be sent now, and whether a stop string ended it."""
        shown = ""
        for position, token_id in enumerate(output.token_ids):
            self._num_generated += 1
            if output.finish_reason == "stop" and position == len(output.token_ids) - 1:
                break  # the stop token counts, and shows nothing
            text, is_stopped = self._push(token_id, output.logprobs[position : position + 1])
            shown += text
            if is_stopped:
                return shown, True
        if output.finish_reason is None:
            return shown, False
        text, stop = self._stops.feed(self._detokenizer.flush())
        self._stop_string = stop
        return shown + text + ("" if stop else self._stops.flush()), stop is not None

    def _push(self, token_id: int, logprobs: list[Logprob]) -> tuple[str, bool]:
        text = self._detokenizer.push(token_id)
        start = self._num_decoded_chars
        self._num_decoded_chars += len(text)
        end = self._num_decoded_chars + self._detokenizer.is_inside_character
        entry = _token_logprob(self._tokenizer, token_id, logprobs[0]) if logprobs else None
        self._held.add(Token(token_id, entry, start, end))
        if self._num_generated <= self._generation.min_tokens:
            return text, False  # as with stop tokens, none counts before the minimum
        shown, self._stop_string = self._stops.feed(text)
        return shown, self._stop_string is not None

    def _read(self, shown: str, *, is_last: bool) -> Parts:
        self._num_shown_chars += len(shown)
        if self._parts is None:
            return Parts(shown)
        return self._parts.feed(shown, is_last=is_last)

    @property
    def _num_settled(self) -> int:
        """How many characters of the text the deltas stand for."""
        return self._num_shown_chars if self._parts is None else self._parts.num_settled

    def _logprobs(self, tokens: list[Token]) -> list[TokenLogprob]:
        """Of the tokens that were said; counts those that were thought."""
        parts = self._parts
        if parts is not None:
            self._num_thought += sum(parts.is_thought(t.start, t.end) for t in tokens)
            tokens = [token for token in tokens if parts.is_said(token.start, token.end)]
        return [token.logprob for token in tokens if token.logprob is not None]

    def _usage(self) -> Usage:
        return Usage(
            len(self._prompt.token_ids),
            self._num_generated,
            self._cached_tokens,
            self._num_thought,
            *self._tried,
            self._spent,
        )


def _parts_reader(prompt: PreparedPrompt, generation: Generation) -> PartsReader | None:
    """None where the text stays as it is."""
    if prompt.chat is None or not (generation.tools or generation.splits_reasoning):
        return None
    return PartsReader(prompt.chat, generation)


def _shown_ids(prompt: PreparedPrompt) -> frozenset[int]:
    """Control tokens that are text for once, since parts are told apart by them."""
    markers = prompt.chat.markers if prompt.chat else ()
    ids = {prompt.tokenizer.special_id(marker) for marker in markers}
    return frozenset(token_id for token_id in ids if token_id is not None)


def _is_silent(prompt: PreparedPrompt) -> bool:
    """Whether no token of the prompt is text, so that what is generated starts the text."""
    return all(map(prompt.tokenizer.is_control, prompt.token_ids))


def _token_logprob(tokenizer: Tokenizer, token_id: int, logprob: Logprob) -> TokenLogprob:
    top = [
        TopLogprob(other, tokenizer.token_text(other), tokenizer.token_bytes(other), value)
        for other, value in logprob.top
    ]
    text, raw = tokenizer.token_text(token_id), tokenizer.token_bytes(token_id)
    return TokenLogprob(token_id, text, raw, logprob.logprob, top)
