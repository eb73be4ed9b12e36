import pytest

from engine.kernels import registry
from engine.kernels.registry import find, register


@pytest.fixture(autouse=True)
def _restored(monkeypatch):
    monkeypatch.setattr(registry, "_kernels", dict(registry._kernels))
    find.cache_clear()
    yield
    find.cache_clear()


def kernel() -> None:
    """Stands where a kernel would; only its identity counts."""


def test_a_kernel_for_format_and_device_comes_first():
    """The most specific kernel is chosen."""
    general, specific = (lambda: None), (lambda: None)
    register("linear", weight_format="Q4_K")(general)
    register("linear", weight_format="Q4_K", device="cuda")(specific)

    assert find("linear", "Q4_K", "cuda") is specific
    assert find("linear", "Q4_K", "cpu") is general


def test_a_format_counts_for_more_than_a_device():
    """A kernel that knows the format beats one that only knows the device."""
    of_format, of_device = (lambda: None), (lambda: None)
    register("linear", weight_format="Q4_K")(of_format)
    register("linear", device="cuda")(of_device)

    assert find("linear", "Q4_K", "cuda") is of_format
    assert find("linear", "Q6_K", "cuda") is of_device


def test_registering_later_is_seen():
    """A choice that was made before is made anew once there is something better."""
    before = find("add", device="cuda")
    register("add", device="cuda")(kernel)

    assert before is not kernel
    assert find("add", device="cuda") is kernel


def test_without_a_kernel_there_is_an_error():
    """An op that nobody implements is named."""
    with pytest.raises(LookupError, match="no kernel for teleport"):
        find("teleport", device="cpu")
