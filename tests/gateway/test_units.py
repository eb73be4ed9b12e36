import math

import pytest

from gateway.units import parse_bytes, parse_device, parse_duration


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4096", 4096),
        ("2GiB", 2 * 2**30),
        ("700MiB", 700 * 2**20),
        ("700 mib", 700 * 2**20),
        ("1.5GB", 1_500_000_000),
        ("2G", 2 * 2**30),
        ("12kB", 12_000),
    ],
)
def test_sizes(text, expected):
    """Binary and decimal units, as they are written elsewhere."""
    assert parse_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "GiB", "-1", "2XB", "1e9", "2 G i B"])
def test_what_is_no_size(text):
    """Is refused with an example of one."""
    with pytest.raises(ValueError, match="is not a size such as"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (0, 0),
        (90.5, 90.5),
        ("90", 90),
        ("0", 0),
        ("10m", 600),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("250ms", 0.25),
        ("5µs", 5e-6),
        (-1, math.inf),
        ("-1", math.inf),
        ("-1m", math.inf),
    ],
)
def test_durations(value, seconds):
    """Ollama's forms: seconds, Go's durations, and anything negative for ever."""
    assert parse_duration(value) == pytest.approx(seconds)


@pytest.mark.parametrize("value", ["", "soon", "5 m", "m", "10mm", "1d", "1h-5m", "inf", math.nan])
def test_what_is_no_duration(value):
    """Is refused."""
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(value)


def test_a_device():
    """Its kind, and the bytes that models may take of it."""
    device = parse_device("cpu:2GiB")

    assert (device.kind, device.memory_bytes) == ("cpu", 2**31)


@pytest.mark.parametrize(
    ("text", "which", "num_bytes"),
    [
        ("cuda", "", None),
        ("cuda:40GiB", "", 40 * 2**30),
        ("cuda:1", "1", None),
        ("cuda:1:40GiB", "1", 40 * 2**30),
        ("cuda:GPU-8b4f-11: 512 MiB", "GPU-8b4f-11", 2**29),
    ],
)
def test_a_gpu(text, which, num_bytes):
    """All of them or one, whole or a part of it."""
    device = parse_device(text)

    assert (device.kind, device.which, device.memory_bytes) == ("cuda", which, num_bytes)


@pytest.mark.parametrize(
    "text",
    ["cpu", "2GiB", "gpu:2GiB", "cpu:much", "cpu:0", "cpu:", "cuda:", "cuda:x", "cuda:1:0GiB"],
)
def test_what_is_no_device(text):
    """A kind that there is no worker for, or no memory."""
    with pytest.raises(ValueError, match=r"is not a|without memory"):
        parse_device(text)
