"""Kinds of plain values that settings are made of."""

from typing import Annotated

from msgspec import Meta

Seconds = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]
Context = Annotated[int, Meta(ge=16)]
Priority = Annotated[int, Meta(ge=-100, le=100)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
DeviceNames = Annotated[list[str], Meta(min_length=2)]
Scalar = str | int | float | bool
