"""llama.cpp's `/infill`, by which editors' plugins ask for what stands at the cursor."""

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from gateway.llamacpp.timings import Timings

Penalty = Annotated[float, Meta(ge=-2, le=2)]


class Extra(Struct, frozen=True):
    """A piece of another file."""

    text: str
    filename: str = ""


class InfillRequest(Struct, frozen=True, kw_only=True):
    """input_prefix and then prompt stand before the gap, input_suffix behind it.

    input_extra: what else may help, the most telling last. n_predict: -1 for as many as there is room
    for; 0 only reads the prompt, so that the next of its kind is quick.
    """

    input_prefix: str
    input_suffix: str
    prompt: str = ""
    input_extra: Annotated[list[Extra], Meta(max_length=1024)] | None = None
    model: str | None = None
    n_predict: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_k: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    repeat_penalty: Annotated[float, Meta(gt=0, le=10)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    seed: Annotated[int, Meta(ge=-1, le=2**63 - 1)] | None = None
    stop: (
        Annotated[list[Annotated[str, Meta(min_length=1, max_length=256)]], Meta(max_length=16)]
        | None
    ) = None
    grammar: str | None = None
    json_schema: dict[str, Any] | None = None
    stream: bool | None = None


class InfillAnswer(Struct, frozen=True, kw_only=True):
    """The answer, or a piece of it; what follows `stop` comes with the last.

    stop_type: eos, word or limit. tokens_evaluated: of the prompt; tokens_cached: those of them that
    had been read before.
    """

    content: str
    stop: bool
    index: int = 0
    tokens: list[int] = []
    model: str | UnsetType = UNSET
    tokens_predicted: int | UnsetType = UNSET
    tokens_evaluated: int | UnsetType = UNSET
    tokens_cached: int | UnsetType = UNSET
    stop_type: str | UnsetType = UNSET
    stopping_word: str | UnsetType = UNSET
    truncated: bool | UnsetType = UNSET
    timings: Timings | UnsetType = UNSET
