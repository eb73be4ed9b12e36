"""The fields that chat and plain completions share."""

from typing import Annotated, Any

from msgspec import Meta, Struct

from gateway.openai.formats import Choices, ResponseFormat, StructuredOutputs
from gateway.refused import neutral

Penalty = Annotated[float, Meta(ge=-2, le=2)]
RepetitionPenalty = Annotated[float, Meta(ge=0.01, le=10)]
"""Logits are divided by it, and must stay finite."""
TokenId = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
PositiveCount = Annotated[int, Meta(ge=1, le=2**31 - 1)]
StopString = Annotated[str, Meta(min_length=1, max_length=256)]


class StreamOptions(Struct, frozen=True):
    include_usage: bool | None = None


class SamplingFields(Struct, frozen=True, kw_only=True):
    """Every field may be null, which means its default; unknown fields are ignored."""

    model: str
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    repetition_penalty: RepetitionPenalty | None = None
    repeat_penalty: RepetitionPenalty | None = None
    """llama.cpp's and Ollama's name of `repetition_penalty`, which wins if both are set."""
    typical_p: Annotated[float, neutral("typical_p")] | None = None
    """This sampler and the next four are not here: they may be set to what does nothing."""
    tfs_z: Annotated[float, neutral("tfs_z")] | None = None
    mirostat: Annotated[int, neutral("mirostat")] | None = None
    xtc_probability: Annotated[float, neutral("xtc_probability")] | None = None
    dry_multiplier: Annotated[float, neutral("dry_multiplier")] | None = None
    logit_bias: (
        Annotated[dict[TokenId, Annotated[float, Meta(ge=-100, le=100)]], Meta(max_length=1024)]
        | None
    ) = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    n: PositiveCount | None = None
    stop: StopString | Annotated[list[StopString], Meta(max_length=16)] | None = None
    stop_token_ids: Annotated[list[TokenId], Meta(max_length=1024)] | None = None
    ignore_eos: bool | None = None
    min_tokens: Count | None = None
    keep_alive: str | float | None = None
    """Ollama's: how long the model stays after the request, as 300, "10m", 0, or -1 for ever."""
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = None
    grammar: str | None = None
    """llama.cpp's, as is `json_schema`: in GBNF, or Lark. The others are vLLM's."""
    json_schema: dict[str, Any] | None = None
    guided_json: str | dict[str, Any] | None = None
    guided_regex: str | None = None
    guided_choice: Choices | None = None
    guided_grammar: str | None = None
    structured_outputs: StructuredOutputs | None = None
