import pytest

from engine.api import Device
from gateway.pool.ledger import Ledger


def test_bytes_are_held_until_they_are_dropped():
    """Each handle's bytes count on its own device, until it is dropped."""
    ledger = Ledger([Device("one", 100), Device("two", 50)])
    ledger.hold(("one",), 1, 60)
    ledger.hold(("two",), 2, 50)

    assert (ledger.free("one"), ledger.free("two")) == (40, 0)
    ledger.drop(("one",), 1)
    assert (ledger.free("one"), ledger.held("one"), ledger.held("two")) == (100, 0, 50)


def test_overcommitting_is_a_bug():
    """Not one byte more than the budget can be held."""
    ledger = Ledger([Device("one", 100)])
    ledger.hold(("one",), 1, 60)

    with pytest.raises(AssertionError):
        ledger.hold(("one",), 2, 41)


def test_a_handle_holds_once():
    """A handle that holds bytes cannot take more."""
    ledger = Ledger([Device("one", 100)])
    ledger.hold(("one",), 1, 10)

    with pytest.raises(AssertionError):
        ledger.hold(("one",), 1, 10)
