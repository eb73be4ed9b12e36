"""Quantities as people write them: sizes, durations, and devices with their memory."""

import math
import re

_SIZE = re.compile(r"(?P<number>\d+(\.\d+)?)\s*(?P<unit>[kmgt]?i?b?)", re.IGNORECASE)
_EXPONENTS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)")
_DURATION = re.compile(r"[+-]?((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))+")
_PART = re.compile(r"(?P<number>[\d.]+)(?P<unit>[a-zµμ]+)")
_UNIT_SECONDS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,  # the micro sign, and below the Greek letter, as Go reads both
    "μs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}

_DEVICE = re.compile(
    r"cpu:\s*(?P<ram>.*)|"
    r"cuda(:(?P<which>\d+|GPU-[0-9A-Fa-f-]+|MIG-[0-9A-Fa-f-]+))?(:\s*(?P<size>.*[A-Za-z]))?"
)


class Bytes(int):
    """A number of bytes, written as a number or with a unit: 700MiB, 2GiB, 1.5GB."""


class Duration(float):
    """Seconds that something is kept, written as a number, or as "5m" or "1h30m".

    Infinite for what is kept for ever, which is written as any negative number.
    """


class DeviceBudget(str):
    """A device of the pool and what models may take of it: "cpu:2GiB", "cuda:0:40GiB".

    "cuda" alone is every GPU, "cuda:0" and "cuda:GPU-8b4f" one of them; without a size a GPU is used
    whole.
    """

    __slots__ = ()

    @property
    def kind(self) -> str:
        return self.partition(":")[0]

    @property
    def which(self) -> str:
        """Number or UUID of a GPU; empty for all of them."""
        found = _DEVICE.fullmatch(self)
        return (found and found["which"]) or ""

    @property
    def memory_bytes(self) -> Bytes | None:
        """None where nothing is said of it."""
        found = _DEVICE.fullmatch(self)
        size = found and (found["ram"] or found["size"])
        return parse_bytes(size) if size else None


def parse_bytes(text: str) -> Bytes:
    """Reads "2GiB", "700 MiB", "1.5GB" (decimal), "2G" (binary, as docker reads it), "4096"."""
    found = _SIZE.fullmatch(text.strip())
    if not found:
        raise ValueError(f"{text!r} is not a size such as 700MiB or 2GiB")
    unit = found["unit"].lower()
    base = 1000 if unit.endswith("b") and "i" not in unit else 1024
    return Bytes(float(found["number"]) * base ** _EXPONENTS[unit.rstrip("b").rstrip("i")])


def shown_bytes(num_bytes: float) -> str:
    """For people, in decimal units as disks are sold: "98.4 MB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 999.5:
            return f"{num_bytes:.3g} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.3g} TB"


def parse_duration(value: str | float) -> Duration:
    """Reads what Ollama's `keep_alive` may be: seconds, "10m", "1h30m"; negative is for ever."""
    seconds = _read_duration(value.strip()) if isinstance(value, str) else float(value)
    if math.isnan(seconds):
        raise ValueError(f"{value!r} is not a duration")
    return Duration(math.inf if seconds < 0 else seconds)


def parse_device(text: str) -> DeviceBudget:
    device = DeviceBudget(text.strip())
    if not _DEVICE.fullmatch(device) or (device.kind == "cpu" and device.memory_bytes is None):
        raise ValueError(f"{text!r} is not a device, such as cpu:2GiB, cuda:0 or cuda:0:40GiB")
    if device.memory_bytes == 0:
        raise ValueError(f"{text!r} is a device without memory")
    return device


def _read_duration(text: str) -> float:
    if _NUMBER.fullmatch(text):
        return float(text)
    if not _DURATION.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration such as 300, 5m or 1h30m")
    parts = _PART.finditer(text.lstrip("+-"))
    seconds = sum(float(part["number"]) * _UNIT_SECONDS[part["unit"]] for part in parts)
    return -seconds if text.startswith("-") else seconds
