from msgspec import Struct


class Model(Struct, frozen=True, kw_only=True):
    """created_at: RFC 3339."""

    id: str
    display_name: str
    created_at: str
    type: str = "model"
    max_input_tokens: int
    max_tokens: int


class ModelList(Struct, frozen=True):
    """All models are on one page."""

    data: list[Model]
    first_id: str | None
    last_id: str | None
    has_more: bool = False
