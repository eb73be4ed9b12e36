"""What the text of an answer shall be, in the words of OpenAI, vLLM and llama.cpp."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

SchemaName = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
Choices = Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(min_length=1, max_length=4096)]


class JsonSchema(Struct, frozen=True):
    """strict: where it is not, `oneOf` is read as `anyOf` if its schemas overlap."""

    name: SchemaName
    description: str | None = None
    schema_: dict[str, Any] | None = field(default=None, name="schema")
    strict: bool | None = None


class ResponseFormat(Struct, frozen=True):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class StructuredOutputs(Struct, frozen=True):
    """vLLM's: one of them. What else it knows, such as structural tags, is refused."""

    json: str | dict[str, Any] | None = None
    regex: str | None = None
    choice: Choices | None = None
    grammar: str | None = None
    json_object: bool | None = None
    structural_tag: object = None
