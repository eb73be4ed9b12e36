"""Chat completions: the request to a `Job`."""

from typing import Final

import msgspec

from engine.api import ChatPrompt, Generation, ModelCard
from gateway.errors import InvalidRequest, NoChatTemplate, Unsupported
from gateway.openai.chat import ChatRequest
from gateway.translate.formats import read_grammar
from gateway.translate.functions import with_tools
from gateway.translate.job import Job, Manner
from gateway.translate.messages import read_messages, text_of
from gateway.translate.sampling import (
    read_generation,
    read_include_usage,
    read_keep_alive,
    read_n,
    refuse_unsupported,
)
from gateway.translate.template_kwargs import read_template_kwargs
from gateway.translate.tools import read_choice, read_tools

_REFUSED: Final = ("audio", "web_search_options")
_UNSPLIT: Final = frozenset({"none", "raw"})
"""Of `reasoning_format`: thoughts stay in the text."""


def read_chat(request: ChatRequest, card: ModelCard, max_choices: int) -> Job:
    """Raises `InvalidRequest` naming the field at fault."""
    manner = _read_manner(request)
    request = with_tools(request)
    refuse_unsupported(request, _REFUSED)
    if request.modalities not in (None, ["text"]):
        raise Unsupported("modalities: only text is supported.", "modalities")
    if "chat" not in card.tasks:
        raise NoChatTemplate(
            "This model has no chat template: it completes only. Use /v1/completions.", "model"
        )
    continues = _continues(request)
    prompt = ChatPrompt(
        read_messages(request.messages),
        tools=read_tools(request),
        template_kwargs=read_template_kwargs(request),
        add_generation_prompt=not (continues or request.add_generation_prompt is False),
        continues=continues,
    )
    return Job(
        prompts=(prompt,),
        generation=_read_generation(request, card),
        prompt_param="messages",
        grammar_param=read_grammar(request)[1],
        n=read_n(request, max_choices),
        max_tokens=request.max_completion_tokens or request.max_tokens,
        stream=request.stream or False,
        include_usage=read_include_usage(request),
        keep_alive=read_keep_alive(request.keep_alive),
        manner=manner,
    )


def _read_manner(request: ChatRequest) -> Manner:
    is_excluded = request.reasoning is not None and request.reasoning.exclude is True
    return Manner(
        calls_function=request.functions is not None,
        hides_reasoning=request.include_reasoning is False
        or is_excluded
        or request.reasoning_format == "hidden",
        has_timings=request.timings_per_token or False,
        # whatever was asked for, there is one
        service_tier=None if request.service_tier is None else "default",
    )


def _continues(request: ChatRequest) -> bool:
    if not request.continue_final_message:
        return False
    name = "continue_final_message"
    if request.add_generation_prompt:
        raise InvalidRequest(f"{name}: not together with add_generation_prompt", name)
    if request.messages[-1].role != "assistant":
        raise InvalidRequest(f"{name}: the last message is not the assistant's", name)
    return True


def _read_generation(request: ChatRequest, card: ModelCard) -> Generation:
    generation = read_generation(request, card, logprobs=_read_logprobs(request))
    predicted = request.prediction
    return msgspec.structs.replace(
        generation,
        tools=read_choice(request),
        splits_reasoning=request.reasoning_format not in _UNSPLIT,
        prediction=text_of(predicted.content, "prediction") if predicted else "",
    )


def _read_logprobs(request: ChatRequest) -> int | None:
    if request.logprobs:
        return request.top_logprobs or 0
    if request.top_logprobs:
        raise InvalidRequest("top_logprobs: only with logprobs", "top_logprobs")
    return None
