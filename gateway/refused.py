"""Fields that are read to be refused: a wish that would change the answer is never dropped in silence."""

from typing import Annotated, Any, Final

from msgspec import Meta

Refused = Annotated[
    Any,
    Meta(
        description="Not supported: refused unless it asks for nothing.",
        extra_json_schema={"enum": [None, False]},
    ),
]
"""As `translate.sampling.refuse_unsupported` has it; here the schema says so to clients too."""

EMPTY: Final = Meta(
    description="Not supported: refused unless it is empty or null.",
    extra_json_schema={"enum": ["", [], None]},
)
"""As `Refused`, of a field whose type is read."""

NEUTRAL: Final = {
    "typical_p": 1.0,
    "tfs_z": 1.0,
    "mirostat": 0,
    "xtc_probability": 0.0,
    "dry_multiplier": 0.0,
}
"""Samplers that are not here, and the values at which they do nothing."""


def neutral(name: str) -> Meta:
    """Of a field that may only be set to what does nothing."""
    return Meta(extra_json_schema={"const": NEUTRAL[name]})
