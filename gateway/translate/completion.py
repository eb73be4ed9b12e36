"""Plain completions: the request to a `Job`."""

from engine.api import FillPrompt, ModelCard, Prompt, TextPrompt, TokenPrompt
from gateway.errors import InvalidRequest, Unsupported
from gateway.openai.completion import CompletionRequest
from gateway.translate.formats import read_grammar
from gateway.translate.job import Job, Manner
from gateway.translate.sampling import (
    check_token_ids,
    read_generation,
    read_include_usage,
    read_keep_alive,
    read_n,
)
from gateway.translate.vectors import require_task

DEFAULT_MAX_TOKENS = 16


def read_completion(
    request: CompletionRequest, card: ModelCard, max_choices: int, max_prompts: int
) -> Job:
    """Raises `InvalidRequest` naming the field at fault."""
    require_task(card, "completion")
    n = read_n(request, max_choices)
    num_made = _read_best_of(request, n, max_choices)
    chooses = num_made > n
    echo = request.echo or False
    max_tokens = DEFAULT_MAX_TOKENS if request.max_tokens is None else request.max_tokens
    if not max_tokens and not echo:
        raise InvalidRequest("max_tokens: 0 only with echo", "max_tokens")
    return Job(
        prompts=tuple(_read_prompts(request, card, max_prompts)),
        generation=read_generation(
            request,
            card,
            logprobs=(request.logprobs or 0) if chooses else request.logprobs,
            prompt_logprobs=echo and request.logprobs is not None,
            echo=echo,
        ),
        prompt_param="prompt",
        grammar_param=read_grammar(request)[1],
        n=num_made,
        max_tokens=max_tokens,
        stream=request.stream or False,
        include_usage=read_include_usage(request),
        keep_alive=read_keep_alive(request.keep_alive),
        manner=Manner(
            has_timings=request.timings_per_token or False,
            num_kept=n if chooses else None,
            hides_logprobs=request.logprobs is None,
        ),
    )


def _read_best_of(request: CompletionRequest, n: int, max_choices: int) -> int:
    best_of = request.best_of or n
    if best_of < n:
        raise InvalidRequest(f"best_of: at least n, which is {n}", "best_of")
    if best_of > max_choices:
        raise InvalidRequest(f"best_of: at most {max_choices}, got {best_of}", "best_of")
    if best_of > n and request.stream:
        raise Unsupported(
            "best_of: what is best is known at the end, so not in a stream", "best_of"
        )
    return best_of


def require_fill(card: ModelCard, param: str) -> None:
    """Raises for a model that knows no tokens to mark a gap with. param: the field that asks for it."""
    if "fill" not in card.capabilities:
        message = (
            f"{param}: this model cannot fill in the middle: it has no tokens that mark a gap."
        )
        raise Unsupported(message, param)


def _read_fill(request: CompletionRequest, card: ModelCard) -> FillPrompt:
    require_fill(card, "suffix")
    if not isinstance(request.prompt, str | None):
        raise InvalidRequest("suffix: only with one prompt, a text", "suffix")
    if request.echo:
        raise InvalidRequest("suffix: not together with echo", "suffix")
    return FillPrompt(request.prompt or "", request.suffix or "")


def _read_prompts(request: CompletionRequest, card: ModelCard, max_prompts: int) -> list[Prompt]:
    prompt = request.prompt
    if request.suffix:
        return [_read_fill(request, card)]
    if prompt is None:
        return [TextPrompt("")]
    if isinstance(prompt, str):
        return [TextPrompt(prompt)]
    if not prompt:
        raise InvalidRequest("prompt: an empty list", "prompt")
    texts = [item for item in prompt if isinstance(item, str)]
    ids = [item for item in prompt if isinstance(item, int)]
    lists = [item for item in prompt if isinstance(item, list)]
    if len(prompt) not in (len(texts), len(ids), len(lists)):
        raise InvalidRequest("prompt: texts, token ids and lists of them do not mix", "prompt")
    if max(len(texts), len(lists)) > max_prompts:
        raise InvalidRequest(f"prompt: at most {max_prompts} prompts in a request", "prompt")
    if texts:
        return [TextPrompt(text) for text in texts]
    return [_token_prompt(item, card) for item in lists or [ids]]


def _token_prompt(ids: list[int], card: ModelCard) -> TokenPrompt:
    check_token_ids(ids, card, "prompt")
    return TokenPrompt(ids)
