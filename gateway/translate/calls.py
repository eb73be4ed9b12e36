"""Calls of tools put together again, for APIs that send each as a whole."""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from engine.api import Delta, ToolCallDelta


@dataclass(slots=True)
class Call:
    index: int
    id: str
    name: str
    pieces: list[str] = field(default_factory=list)

    @property
    def arguments(self) -> dict[str, Any]:
        """Empty if they were cut off: half of them may mean something else."""
        try:
            return msgspec.json.decode("".join(self.pieces) or "{}", type=dict[str, Any])
        except msgspec.DecodeError:
            return {}


class Calls:
    """Of one reply. A call is whole when the next begins, or the reply ends."""

    def __init__(self) -> None:
        self._open: Call | None = None

    def add(self, delta: Delta) -> list[Call]:
        """The calls that are whole now, and were not before."""
        whole: list[Call] = []
        for piece in delta.tool_calls:
            whole += self._add(piece)
        return whole + self._close() if delta.finish_reason else whole

    def _add(self, piece: ToolCallDelta) -> list[Call]:
        whole: list[Call] = []
        if self._open is None or self._open.index != piece.index:
            whole = self._close()
            self._open = Call(piece.index, piece.id, piece.name)
        self._open.pieces.append(piece.arguments)
        return whole

    def _close(self) -> list[Call]:
        done, self._open = self._open, None
        return [done] if done else []
