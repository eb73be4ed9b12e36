import pytest

from engine.residency.host_memory import available_bytes, warm_budget
from engine.residency.warm import WarmBudget

MEMINFO = "MemTotal:  900 kB\nMemAvailable:     700 kB\n"


@pytest.fixture
def machine(tmp_path):
    (tmp_path / "meminfo").write_text(MEMINFO)
    return tmp_path


def available(machine) -> int:
    return available_bytes(machine / "meminfo", machine)


def test_an_operators_word_is_strict():
    """Whatever the machine has, also of what the system could drop by itself."""
    assert warm_budget(12345) == WarmBudget(12345, 12345)


def test_by_default_less_than_what_is_available_is_used():
    """And less yet where only we can let go of it."""
    budget = warm_budget(None)

    assert 0 < budget.unreclaimable_bytes < budget.total_bytes < available_bytes()


def test_outside_a_container_it_is_the_machines(machine):
    """Without a limit, and with "max"."""
    assert available(machine) == 700 * 1024
    (machine / "memory.max").write_text("max\n")
    assert available(machine) == 700 * 1024


def test_a_containers_limit_counts(machine):
    """Less what it takes; the pages of files can be taken back."""
    (machine / "memory.max").write_text("600000\n")
    (machine / "memory.current").write_text("400000\n")
    (machine / "memory.stat").write_text("anon 100000\ninactive_file 250000\n")

    assert available(machine) == 450_000
