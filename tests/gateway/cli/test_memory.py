import psutil
import pytest

from gateway.cli.memory import _container_bytes, default_budget


def test_budget_is_a_share_of_what_there_is():
    """The default leaves room for everything else on the machine."""
    assert 0 < default_budget() <= 0.6 * psutil.virtual_memory().total


@pytest.mark.parametrize(
    ("text", "num_bytes"), [("1073741824\n", 2**30), ("max\n", float("inf")), ("", float("inf"))]
)
def test_container_limit_counts(tmp_path, text, num_bytes):
    """A container's limit is read as the kernel writes it; none is no limit."""
    limit = tmp_path / "memory.max"
    limit.write_text(text)

    assert _container_bytes(limit) == num_bytes


def test_no_container_is_no_limit(tmp_path):
    """Where there are no control groups, the machine's memory decides."""
    assert _container_bytes(tmp_path / "absent") == float("inf")
