from typing import get_args

import pytest

from gateway.pool import ModelState
from gateway.pool.status import ModelStatus
from gateway.translate.models import STATUSES, read_model


@pytest.mark.parametrize(("model_id", "owner"), [("org/tiny", "org"), ("tiny", "roundhouse")])
def test_the_owner_is_the_first_folder(card, model_id, owner):
    """As on the hub; a model without one is ours."""
    status = ModelStatus("key", state="loaded", device="cpu", leases=1)
    model = read_model(model_id, card, created=1, aliases=(), status=status, context_length=512)

    assert (model.id, model.owned_by, model.name) == (model_id, owner, "tiny")
    assert model.max_model_len == model.context_window == model.context_length == 512


def test_every_state_has_a_word_in_the_other_vocabulary():
    """A state that is added to the pool must be added here."""
    assert set(STATUSES) == set(get_args(ModelState))
