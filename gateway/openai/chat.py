from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from gateway.llamacpp.timings import Timings
from gateway.openai.sampling import PositiveCount, SamplingFields
from gateway.openai.usage import Usage
from gateway.refused import Refused

# --- request ------------------------------------------------------------------------------------


class ContentPart(Struct, frozen=True):
    """refusal: the text of a part that is one, an assistant's."""

    type: str
    text: str | None = None
    refusal: str | None = None


class FunctionCall(Struct, frozen=True):
    name: str
    arguments: str | None = None


class ToolCall(Struct, frozen=True):
    function: FunctionCall
    id: str | None = None
    type: Literal["function"] = "function"


class ReasoningDetail(Struct, frozen=True):
    """OpenRouter's: thoughts in pieces, or a summary of them. What is encrypted says nothing here."""

    type: str
    text: str | None = None
    summary: str | None = None


class Message(Struct, frozen=True):
    """function_call, and the role that answers it: what tool calls were before there were several."""

    role: Literal["developer", "system", "user", "assistant", "tool", "function"]
    content: str | list[ContentPart] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[ReasoningDetail] | None = None
    function_call: FunctionCall | None = None
    refusal: str | None = None
    audio: object = None


_HIDDEN = r"\x00-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
ToolName = Annotated[
    str, Meta(min_length=1, max_length=256, pattern=rf"^[^\s{_HIDDEN}<>\"'{{}}\[\]()]+$")
]
"""Free of what formats of tool calls put round a name, and of what nobody sees in one."""


class FunctionDefinition(Struct, frozen=True):
    name: ToolName
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Struct, frozen=True):
    """What is checked of a tool; templates get it as it came (`ChatRequest.tools`)."""

    type: Literal["function"]
    function: FunctionDefinition


class NamedFunction(Struct, frozen=True):
    name: str


class NamedTool(Struct, frozen=True):
    """The one tool to be called."""

    function: NamedFunction
    type: Literal["function"] = "function"


class AllowedTools(Struct, frozen=True):
    """Those of the request's tools that may be called this time."""

    mode: Literal["auto", "required"]
    tools: Annotated[list[NamedTool], Meta(min_length=1, max_length=128)]


Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class Reasoning(Struct, frozen=True):
    """OpenRouter's. max_tokens: a budget, which templates may read. exclude: think, and do not tell."""

    effort: Effort | None = None
    max_tokens: PositiveCount | None = None
    enabled: bool | None = None
    exclude: bool | None = None


class Thinking(Struct, frozen=True):
    """DeepSeek's and GLM's switch, as an object."""

    type: Literal["enabled", "disabled", "auto", "adaptive"]


class Prediction(Struct, frozen=True):
    """What most of the answer is expected to say."""

    type: Literal["content"]
    content: str | list[ContentPart]


class ChatRequest(SamplingFields, frozen=True, kw_only=True):
    messages: Annotated[list[Message], Meta(min_length=1, max_length=2048)]
    max_completion_tokens: PositiveCount | None = None
    max_tokens: PositiveCount | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    tools: Annotated[list[dict[str, Any]], Meta(max_length=128)] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    functions: Annotated[list[dict[str, Any]], Meta(min_length=1, max_length=128)] | None = None
    function_call: Literal["none", "auto"] | NamedFunction | None = None
    prediction: Prediction | None = None
    service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast"] | None = None
    timings_per_token: bool | None = None
    modalities: list[str] | None = None
    audio: Refused = None
    web_search_options: Refused = None
    reasoning_effort: Effort | None = None
    reasoning: Reasoning | None = None
    include_reasoning: bool | None = None
    reasoning_format: (
        Literal["auto", "deepseek", "deepseek-legacy", "parsed", "none", "raw", "hidden"] | None
    ) = None
    """llama.cpp's and Groq's: apart, left in the text, or not told."""
    enable_thinking: bool | None = None
    thinking: bool | Thinking | None = None
    chat_template: Refused = None
    chat_template_kwargs: dict[str, Any] | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None


# --- reply --------------------------------------------------------------------------------------


class TopLogprob(Struct, frozen=True):
    token: str
    logprob: float
    bytes: list[int]
    token_id: int


class TokenLogprob(Struct, frozen=True):
    """bytes: the token's exact bytes, needed to rebuild split characters. token_id: our extra."""

    token: str
    logprob: float
    bytes: list[int]
    token_id: int
    top_logprobs: list[TopLogprob]


class ChoiceLogprobs(Struct, frozen=True):
    content: list[TokenLogprob]
    refusal: None = None


class ReplyFunction(Struct, frozen=True):
    name: str
    arguments: str


class ReplyToolCall(Struct, frozen=True):
    id: str
    function: ReplyFunction
    type: str = "function"


class ReplyMessage(Struct, frozen=True):
    """content: None beside calls alone. Thoughts go by both names that clients read.

    function_call: the call, for who offered `functions`.
    """

    content: str | None
    role: str = "assistant"
    refusal: None = None
    reasoning_content: str | UnsetType = UNSET
    reasoning: str | UnsetType = UNSET
    tool_calls: list[ReplyToolCall] | UnsetType = UNSET
    function_call: ReplyFunction | UnsetType = UNSET


class Choice(Struct, frozen=True):
    index: int
    message: ReplyMessage
    logprobs: ChoiceLogprobs | None
    finish_reason: str


class ChatCompletion(Struct, frozen=True, kw_only=True):
    id: str
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    object: str = "chat.completion"
    system_fingerprint: str | None = None
    service_tier: str | UnsetType = UNSET
    timings: Timings | UnsetType = UNSET


class FunctionDelta(Struct, frozen=True):
    arguments: str
    name: str | UnsetType = UNSET


class ToolCallDelta(Struct, frozen=True):
    """id, type and name come once, in a call's first chunk: SDKs concatenate repeated strings."""

    index: int
    function: FunctionDelta
    id: str | UnsetType = UNSET
    type: str | UnsetType = UNSET


class ChoiceDelta(Struct, frozen=True):
    """`role` comes once, in a choice's first chunk: SDKs concatenate repeated strings."""

    role: str | UnsetType = UNSET
    content: str | UnsetType | None = UNSET
    reasoning_content: str | UnsetType = UNSET
    reasoning: str | UnsetType = UNSET
    tool_calls: list[ToolCallDelta] | UnsetType = UNSET
    function_call: FunctionDelta | UnsetType = UNSET


class ChunkChoice(Struct, frozen=True):
    index: int
    delta: ChoiceDelta
    logprobs: ChoiceLogprobs | UnsetType = UNSET
    finish_reason: str | None = None


class ChatChunk(Struct, frozen=True, kw_only=True):
    """usage: absent unless asked for; then null in every chunk but the last."""

    id: str
    created: int
    model: str
    choices: list[ChunkChoice]
    object: str = "chat.completion.chunk"
    system_fingerprint: str | None = None
    usage: Usage | UnsetType | None = UNSET
    service_tier: str | UnsetType = UNSET
    timings: Timings | UnsetType = UNSET
