"""A `Job` in OpenAI's words. Always as a stream, which `replies` reads, whatever the client wants."""

from typing import Any

import msgspec

from engine.api import (
    ChatPrompt,
    FillPrompt,
    Generation,
    Grammar,
    Sampling,
    TextPrompt,
    TokenPrompt,
)
from gateway.config import UpstreamSettings
from gateway.errors import Unsupported
from gateway.translate.job import Job
from gateway.upstreams.messages import write_messages

Fields = dict[str, Any]

CHAT, COMPLETION = "chat/completions", "completions"


def write_request(job: Job, model: str, settings: UpstreamSettings) -> tuple[str, Fields]:
    """The path and the body. model: as the upstream calls it.

    What a client leaves open is left out, but for the temperature, which means 1 here and something
    else elsewhere.
    """
    prompt = job.prompts[0]
    is_chat = isinstance(prompt, ChatPrompt)
    body: Fields = {"model": model, "stream": True, "stream_options": {"include_usage": True}}
    body |= _chat(job, prompt) if isinstance(prompt, ChatPrompt) else _completion(job)
    body |= _sampling(job.generation.sampling) | _ending(job.generation)
    if job.n > 1:
        body["n"] = job.n
    if job.max_tokens is not None:
        body[settings.max_tokens_field if is_chat else "max_tokens"] = job.max_tokens
    return (CHAT if is_chat else COMPLETION), without(body, settings.omit)


def without(body: Fields, omit: list[str]) -> Fields:
    """The body less fields that its server does not know, in messages too."""
    if not omit:
        return body
    kept = {name: value for name, value in body.items() if name not in omit}
    if "messages" in kept:
        kept["messages"] = [
            {name: value for name, value in message.items() if name not in omit}
            for message in kept["messages"]
        ]
    return kept


def _chat(job: Job, prompt: ChatPrompt) -> Fields:
    generation, wanted = job.generation, job.generation.sampling.logprobs
    body: Fields = {"messages": write_messages(prompt)}
    if prompt.continues:
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    elif not prompt.add_generation_prompt:
        body["add_generation_prompt"] = False
    if wanted is not None:
        body |= {"logprobs": True, "top_logprobs": wanted}
    if generation.prediction:
        body["prediction"] = {"type": "content", "content": generation.prediction}
    return body | _template(prompt.template_kwargs) | _tools(prompt, generation)


def _template(kwargs: Fields) -> Fields:
    """The one of them that OpenAI has a field for, and the rest as other servers read them."""
    rest = {name: value for name, value in kwargs.items() if name != "reasoning_effort"}
    body: Fields = {"chat_template_kwargs": rest} if rest else {}
    if "reasoning_effort" in kwargs:
        body["reasoning_effort"] = kwargs["reasoning_effort"]
    return body


def _tools(prompt: ChatPrompt, generation: Generation) -> Fields:
    choice = generation.tools
    if choice is None or not prompt.tools:
        return {}
    body: Fields = {"tools": prompt.tools}
    if choice.mode == "required" and len(choice.names) == 1:
        body["tool_choice"] = {"type": "function", "function": {"name": choice.names[0]}}
        return body
    if choice.mode == "required":
        body["tool_choice"] = "required"
    if not choice.is_parallel:
        body["parallel_tool_calls"] = False
    return body


def _completion(job: Job) -> Fields:
    generation, wanted = job.generation, job.generation.sampling.logprobs
    body = _prompts(job)
    if generation.echo:
        body["echo"] = True
    if wanted is not None:
        body["logprobs"] = wanted
    return body


def _prompts(job: Job) -> Fields:
    first = job.prompts[0]
    if isinstance(first, FillPrompt):
        if first.snippets:
            message = "input_extra: a model of another server is shown no other files."
            raise Unsupported(message, "input_extra")
        return {"prompt": first.prefix, "suffix": first.suffix}
    texts = [prompt.text for prompt in job.prompts if isinstance(prompt, TextPrompt)]
    ids = [prompt.token_ids for prompt in job.prompts if isinstance(prompt, TokenPrompt)]
    prompts: list[Any] = [*texts, *ids]
    return {"prompt": prompts[0] if len(prompts) == 1 else prompts}


_NEUTRAL = Sampling()
_SAME = (
    "top_k",
    "top_p",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "seed",
)


def _sampling(sampling: Sampling) -> Fields:
    body: Fields = {"temperature": sampling.temperature}
    for name in _SAME:
        if (value := getattr(sampling, name)) != getattr(_NEUTRAL, name):
            body[name] = value
    if sampling.logit_bias:
        body["logit_bias"] = {str(token): bias for token, bias in sampling.logit_bias.items()}
    return body


def _ending(generation: Generation) -> Fields:
    body: Fields = {}
    if generation.stop:
        body["stop"] = list(generation.stop)
    if generation.stop_token_ids:
        body["stop_token_ids"] = list(generation.stop_token_ids)
    if generation.ignore_eos:
        body["ignore_eos"] = True
    if generation.min_tokens:
        body["min_tokens"] = generation.min_tokens
    return body if generation.grammar is None else body | _format(generation.grammar)


def _format(grammar: Grammar) -> Fields:
    if grammar.kind == "regex":
        return {"structured_outputs": {"regex": grammar.text}}
    if grammar.kind == "lark":
        return {"structured_outputs": {"grammar": grammar.text}}
    schema = msgspec.json.decode(grammar.text, type=Fields)
    is_strict = schema.pop("x-guidance", None) is None  # how our own engine is to read it
    if schema == {"type": "object"}:
        return {"response_format": {"type": "json_object"}}
    wanted = {"name": "answer", "schema": schema} | ({"strict": True} if is_strict else {})
    return {"response_format": {"type": "json_schema", "json_schema": wanted}}
