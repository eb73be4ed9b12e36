"""One sequence's tokens to deltas."""

from typing import NamedTuple, cast

from engine.api import Delta, FinishReason, Run, TokenLogprob, TopLogprob, Usage
from engine.text.detokenizer import Detokenizer
from engine.text.prompts import PreparedPrompt
from engine.text.stop import StopMatcher
from engine.text.tokenizer import Tokenizer
from engine.wire import Logprob, Output


class _Token(NamedTuple):
    """A token not sent yet, and from which to which character of the text it reaches."""

    token_id: int
    logprob: TokenLogprob | None
    start: int
    end: int


class Writer:
    """Turns a worker's outputs for one sequence into deltas: pure, one call per output.

    Tokens and their logprobs are held back for as long as the text that they are part of.
    """

    def __init__(self, prompt: PreparedPrompt, run: Run) -> None:
        self._prompt = prompt
        self._tokenizer = prompt.tokenizer
        self._index = run.index
        self._generation = run.generation
        self._detokenizer = Detokenizer(prompt.tokenizer, starts_text=_is_silent(prompt))
        self._stops = StopMatcher(run.generation.stop)
        self._prompt_logprobs: list[TokenLogprob] = []
        self._is_prompt_sent = False
        self._held: list[_Token] = []
        self._num_generated = 0
        self._num_decoded_chars = 0
        self._num_sent_chars = 0
        self._cached_tokens = 0

    def write(self, output: Output) -> tuple[Delta | None, bool]:
        """What to send, if anything, and whether a stop string has ended the sequence.

        A delta with a finish_reason or a failure is the last.
        """
        if output.failure is not None:
            return Delta(self._index, failure=output.failure), False
        self._cached_tokens = max(self._cached_tokens, output.cached_tokens)
        if output.prompt_logprobs:
            self._take_prompt_logprobs(output.prompt_logprobs)
        echo, prompt_logprobs = self._prompt_part(is_last=output.finish_reason is not None)
        text, is_stopped = self._generated_part(output)
        reason = "stop" if is_stopped else output.finish_reason
        tokens = self._release(len(text), is_stopped=is_stopped, is_last=reason is not None)
        if not (echo or prompt_logprobs or text or tokens or reason):
            return None, False
        logprobs = [token.logprob for token in tokens if token.logprob is not None]
        delta = Delta(
            self._index,
            text=echo + text,
            token_ids=[token.token_id for token in tokens],
            logprobs=prompt_logprobs + logprobs,
            finish_reason=cast("FinishReason | None", reason),
            usage=self._usage() if reason else None,
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
        return shown + text + ("" if stop else self._stops.flush()), stop is not None

    def _push(self, token_id: int, logprobs: list[Logprob]) -> tuple[str, bool]:
        text = self._detokenizer.push(token_id)
        start = self._num_decoded_chars
        self._num_decoded_chars += len(text)
        end = self._num_decoded_chars + self._detokenizer.is_inside_character
        entry = _token_logprob(self._tokenizer, token_id, logprobs[0]) if logprobs else None
        self._held.append(_Token(token_id, entry, start, end))
        if self._num_generated <= self._generation.min_tokens:
            return text, False  # as with stop tokens, none counts before the minimum
        shown, stop = self._stops.feed(text)
        return shown, stop is not None

    def _release(self, num_chars: int, *, is_stopped: bool, is_last: bool) -> list[_Token]:
        """Takes out the tokens that go with the next `num_chars` of text."""
        self._num_sent_chars += num_chars
        held, self._held = self._held, []
        if is_stopped:
            return [token for token in held if token.start < self._num_sent_chars]
        if is_last or not held or held[-1].end <= self._num_sent_chars:  # nothing is held back
            return held
        late = (i for i, token in enumerate(held) if token.end > self._num_sent_chars)
        num_ready = next(late)
        self._held = held[num_ready:]
        return held[:num_ready]

    def _usage(self) -> Usage:
        return Usage(len(self._prompt.token_ids), self._num_generated, self._cached_tokens)


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
