"""Answers of `GET /api/tags`, `/api/ps` and `/api/version`."""

from msgspec import Struct


class Details(Struct, frozen=True, kw_only=True):
    """parameter_size: as "8.0B". parent_model: what a preset is made from."""

    parent_model: str
    format: str
    family: str
    families: list[str]
    parameter_size: str
    quantization_level: str


class Tag(Struct, frozen=True, kw_only=True):
    """name, model: both are the id. modified_at: RFC 3339. size: bytes of its files."""

    name: str
    model: str
    modified_at: str
    size: int
    digest: str
    details: Details


class TagList(Struct, frozen=True):
    models: list[Tag]


class Running(Struct, frozen=True, kw_only=True):
    """size: bytes of memory; size_vram: those of them on a GPU. expires_at: RFC 3339.

    Clients show as "forever" what expires in decades.
    """

    name: str
    model: str
    size: int
    digest: str
    details: Details
    expires_at: str
    size_vram: int
    context_length: int


class RunningList(Struct, frozen=True):
    models: list[Running]


class Version(Struct, frozen=True):
    version: str
