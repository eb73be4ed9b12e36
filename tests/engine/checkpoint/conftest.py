import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

_REPOSITORY = Path(__file__).resolve().parents[3]
_COMMITTED = _REPOSITORY / "tests" / "fixtures"
_ALL = Path(os.environ.get("FIXTURES", _REPOSITORY / "../shared/fixtures/dev"))


@pytest.fixture
def fixture_path() -> Callable[[str], Path]:
    """Where a fixture lies: in the repository, else in the full set, else the test is skipped."""

    def find(relative: str) -> Path:
        for root in (_COMMITTED, _ALL):
            if (root / relative).exists():
                return root / relative
        pytest.skip(f"fixture {relative} is neither committed nor in {_ALL}")

    return find


class GGUFBytes:
    """Writes GGUF by hand, so that a test can write what no correct writer would."""

    def __init__(self) -> None:
        self.keys: list[bytes] = []
        self.tensors: list[bytes] = []
        self.data = b""
        self.magic = b"GGUF"
        self.version = 3
        self.num_keys: int | None = None
        self.num_tensors: int | None = None
        self.alignment = 32

    @staticmethod
    def string(text: bytes) -> bytes:
        return struct.pack("<Q", len(text)) + text

    def key(self, name: bytes, kind: int, value: bytes) -> "GGUFBytes":
        self.keys.append(self.string(name) + struct.pack("<I", kind) + value)
        return self

    def array(self, name: bytes, element: int, count: int, content: bytes) -> "GGUFBytes":
        return self.key(name, 9, struct.pack("<IQ", element, count) + content)

    def tensor(
        self, name: bytes, sizes: tuple[int, ...], kind: int = 0, offset: int = 0
    ) -> "GGUFBytes":
        shape = struct.pack(f"<I{len(sizes)}Q", len(sizes), *sizes)
        self.tensors.append(self.string(name) + shape + struct.pack("<IQ", kind, offset))
        return self

    def header(self) -> bytes:
        num_keys = len(self.keys) if self.num_keys is None else self.num_keys
        num_tensors = len(self.tensors) if self.num_tensors is None else self.num_tensors
        counts = struct.pack("<IQQ", self.version, num_tensors, num_keys)
        return self.magic + counts + b"".join(self.keys) + b"".join(self.tensors)

    def build(self) -> bytes:
        header = self.header()
        return header + bytes(-len(header) % self.alignment) + self.data


def small_gguf() -> GGUFBytes:
    """Two tensors of 64 bytes, and a key of every kind."""
    gguf = GGUFBytes()
    gguf.key(b"general.architecture", 8, gguf.string(b"llama"))
    gguf.key(b"count", 4, struct.pack("<I", 7)).key(b"scale", 6, struct.pack("<f", 0.5))
    gguf.key(b"flag", 7, b"\1")
    gguf.array(b"tokens", 8, 2, gguf.string(b"a") + gguf.string("é".encode()))
    gguf.array(b"types", 5, 3, struct.pack("<3i", 1, -2, 3))
    gguf.tensor(b"one.weight", (4, 4)).tensor(b"two.weight", (16,), offset=64)
    gguf.data = bytes(range(128))
    return gguf


@pytest.fixture
def gguf() -> GGUFBytes:
    return GGUFBytes()


@pytest.fixture
def valid_gguf() -> GGUFBytes:
    return small_gguf()
