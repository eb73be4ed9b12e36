"""What families share whose layers do not all see the whole sequence."""

from typing import Annotated, ClassVar, Literal

from msgspec.structs import force_setattr

from engine.models.meta import Config, Size, gguf

LayerType = Literal["full_attention", "sliding_attention"]


class SlidingConfig(Config, frozen=True, kw_only=True):
    """layer_types wins over sliding_window_pattern.

    A pattern is a period whose last layer is full, a flag for each layer that slides, or letters
    such as "LLLG" (local, global) that repeat. Without a sliding_window every layer is full.
    """

    sliding_window: Annotated[Size | None, gguf("attention.sliding_window")] = None
    sliding_window_pattern: Annotated[
        int | tuple[bool, ...] | str, gguf("attention.sliding_window_pattern")
    ] = 0
    layer_types: tuple[LayerType, ...] = ()

    default_pattern: ClassVar[int] = 1
    """The period where a file names none; 1 has full layers only."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.sliding_window_pattern:
            force_setattr(self, "sliding_window_pattern", self.default_pattern)
        for given in (self.layer_types, self.sliding_window_pattern):
            if given and isinstance(given, tuple) and len(given) != self.num_hidden_layers:
                raise ValueError(f"{len(given)} layer types, {self.num_hidden_layers} layers")

    def layer_type(self, layer: int) -> LayerType:
        return "sliding_attention" if self.window(layer) else "full_attention"

    def window(self, layer: int) -> int | None:
        """How many tokens the layer sees, None for all."""
        return self.sliding_window if self.slides(layer) else None

    def slides(self, layer: int) -> bool:
        """Whether the layer is of the sliding type."""
        pattern = self.sliding_window_pattern
        if self.layer_types:
            return self.layer_types[layer] == "sliding_attention"
        if isinstance(pattern, tuple):
            return pattern[layer]
        if isinstance(pattern, str):
            return pattern[layer % len(pattern)] == "L"
        return (layer + 1) % pattern != 0
