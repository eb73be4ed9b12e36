import pytest

from engine.api import ModelCard
from tests.gateway.fakes import make_card


@pytest.fixture
def card() -> ModelCard:
    """A model that chats, with a vocabulary of 1000."""
    return make_card("/m/tiny.gguf")
