"""What chat and plain completions ask of the sampler, checked against the model."""

from engine.api import Generation, ModelCard, Sampling
from gateway.errors import InvalidRequest, Unsupported
from gateway.openai.sampling import SamplingFields
from gateway.refused import NEUTRAL
from gateway.translate.formats import read_grammar
from gateway.units import parse_duration


def refuse_unsupported(request: SamplingFields, fields: tuple[str, ...]) -> None:
    """A wish that would change the answer is honoured or refused, never dropped in silence."""
    for name in fields:
        if getattr(request, name) not in (None, False):
            raise Unsupported(f"{name} is not supported.", name)


def read_generation(
    request: SamplingFields,
    card: ModelCard,
    *,
    logprobs: int | None,
    prompt_logprobs: bool = False,
    echo: bool = False,
) -> Generation:
    """Everything but the number of tokens, which depends on the prompt."""
    _refuse_samplers(request)
    return Generation(
        max_tokens=0,
        sampling=_read_sampling(request, card, logprobs, prompt_logprobs),
        stop=_read_stop(request),
        stop_token_ids=_read_stop_token_ids(request, card),
        ignore_eos=request.ignore_eos or False,
        min_tokens=request.min_tokens or 0,
        echo=echo,
        grammar=read_grammar(request)[0],
    )


def read_n(request: SamplingFields, max_choices: int) -> int:
    n = request.n or 1
    if n > max_choices:
        raise InvalidRequest(f"n: at most {max_choices}, got {n}", "n")
    return n


def read_include_usage(request: SamplingFields) -> bool:
    if request.stream_options is None:
        return False
    if not request.stream:
        raise InvalidRequest("stream_options: only with stream", "stream_options")
    return request.stream_options.include_usage or False


def read_keep_alive(value: str | float | None) -> float | None:
    """Seconds, infinite for ever."""
    if value is None:
        return None
    try:
        return parse_duration(value)
    except ValueError as error:
        raise InvalidRequest(f"keep_alive: {error}", "keep_alive") from None


def _refuse_samplers(request: SamplingFields) -> None:
    for name, neutral in NEUTRAL.items():
        if getattr(request, name) not in (None, neutral):
            raise Unsupported(f"{name} is not supported.", name)


def _read_sampling(
    request: SamplingFields, card: ModelCard, logprobs: int | None, prompt_logprobs: bool
) -> Sampling:
    repetition_penalty = request.repetition_penalty or request.repeat_penalty
    return Sampling(
        temperature=_default(request.temperature, 1.0),
        top_k=max(request.top_k or 0, 0),  # -1 is another way to say "no limit"
        top_p=_default(request.top_p, 1.0),
        min_p=request.min_p or 0.0,
        repetition_penalty=_default(repetition_penalty, 1.0),
        presence_penalty=request.presence_penalty or 0.0,
        frequency_penalty=request.frequency_penalty or 0.0,
        logit_bias=_read_logit_bias(request, card),
        seed=request.seed,
        logprobs=logprobs,
        prompt_logprobs=prompt_logprobs,
    )


def _default(value: float | None, default: float) -> float:
    return default if value is None else value


def _read_stop(request: SamplingFields) -> tuple[str, ...]:
    if request.stop is None:
        return ()
    return (request.stop,) if isinstance(request.stop, str) else tuple(request.stop)


def _read_stop_token_ids(request: SamplingFields, card: ModelCard) -> tuple[int, ...]:
    ids = request.stop_token_ids or []
    check_token_ids(ids, card, "stop_token_ids")
    return tuple(ids)


def _read_logit_bias(request: SamplingFields, card: ModelCard) -> dict[int, float]:
    bias = request.logit_bias or {}
    check_token_ids(list(bias), card, "logit_bias")
    return bias


def check_token_ids(ids: list[int], card: ModelCard, param: str) -> None:
    if ids and max(ids) >= card.vocab_size:
        raise InvalidRequest(
            f"{param}: token {max(ids)} is outside the vocabulary of {card.vocab_size}", param
        )
