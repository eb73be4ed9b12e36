import pytest

from gateway.hub.errors import Transient
from gateway.hub.retries import MAX_TRIES, Retries


def test_pauses_grow_until_it_is_enough():
    """A try that brought something begins the count anew."""
    retries = Retries()
    pauses = [retries.pause_after(Transient("no")) for _ in range(MAX_TRIES - 1)]

    assert pauses == [1, 2, 4, 8, 16]
    with pytest.raises(Transient):
        retries.pause_after(Transient("no"))
    retries.succeeded()
    assert retries.pause_after(Transient("no")) == 1


def test_a_server_says_itself_when():
    """Within reason: nobody waits for an hour."""
    assert Retries().pause_after(Transient("no", 42)) == 42
    with pytest.raises(Transient):
        Retries().pause_after(Transient("no", 3600))
