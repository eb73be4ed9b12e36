"""Fixtures for the gateway's tests. The classes behind them are in `fakes.py` beside this."""

from collections.abc import Iterator

import pytest

from tests.gateway.fakes import FakeEngine


@pytest.fixture
def fake_engine() -> Iterator[FakeEngine]:
    """An engine of one device of 1000 bytes with no cards yet: `fake_engine.add(make_card(...))`."""
    engine = FakeEngine()
    yield engine
    assert not engine.bugs
