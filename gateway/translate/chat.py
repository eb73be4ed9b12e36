"""Chat completions: the request to a `Job`."""

import msgspec

from engine.api import ChatPrompt, Generation, ModelCard
from gateway.errors import InvalidRequest, NoChatTemplate, Unsupported
from gateway.openai.chat import ChatRequest
from gateway.translate.formats import read_grammar
from gateway.translate.job import Job
from gateway.translate.messages import read_messages
from gateway.translate.sampling import (
    read_generation,
    read_include_usage,
    read_keep_alive,
    read_n,
    refuse_unsupported,
)
from gateway.translate.template_kwargs import read_template_kwargs
from gateway.translate.tools import read_choice, read_tools

_REFUSED = (
    "functions",
    "function_call",
    "audio",
    "web_search_options",
    "continue_final_message",
)


def read_chat(request: ChatRequest, card: ModelCard, max_choices: int) -> Job:
    """Raises `InvalidRequest` naming the field at fault."""
    refuse_unsupported(request, _REFUSED)
    if request.modalities not in (None, ["text"]):
        raise Unsupported("modalities: only text is supported.", "modalities")
    if "chat" not in card.tasks:
        raise NoChatTemplate(
            "This model has no chat template: it completes only. Use /v1/completions.", "model"
        )
    prompt = ChatPrompt(
        read_messages(request.messages),
        tools=read_tools(request),
        template_kwargs=read_template_kwargs(request),
        add_generation_prompt=request.add_generation_prompt is not False,
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
    )


def _read_generation(request: ChatRequest, card: ModelCard) -> Generation:
    generation = read_generation(request, card, logprobs=_read_logprobs(request))
    return msgspec.structs.replace(generation, tools=read_choice(request), splits_reasoning=True)


def _read_logprobs(request: ChatRequest) -> int | None:
    if request.logprobs:
        return request.top_logprobs or 0
    if request.top_logprobs:
        raise InvalidRequest("top_logprobs: only with logprobs", "top_logprobs")
    return None
