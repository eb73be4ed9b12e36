from typing import get_args

import pytest
from msgspec import UNSET

from gateway.catalog.models import KnownModel
from gateway.config import Preset
from gateway.pool import ModelState
from gateway.pool.status import ModelStatus
from gateway.translate.models import STATUSES, read_event, read_model


@pytest.mark.parametrize(("model_id", "owner"), [("org/tiny", "org"), ("tiny", "roundhouse")])
def test_the_owner_is_the_first_folder(card, model_id, owner):
    """As on the hub; a model without one is ours."""
    status = ModelStatus("key", state="loaded", place=("cpu",), leases=1)
    model = read_model(KnownModel(model_id, card, created=1), status, 512)

    assert (model.id, model.owned_by, model.name) == (model_id, owner, "tiny")
    assert model.root == model_id
    assert model.max_model_len == model.context_window == model.context_length == 512


def test_a_preset_names_its_root(card):
    """So that a client sees which models share their weights."""
    preset = KnownModel("terse", card, 1, preset=Preset(model="tiny"), base="org/tiny")

    assert read_model(preset, ModelStatus("key"), 512).root == "org/tiny"


def test_every_state_has_a_word_in_the_other_vocabulary():
    """A state that is added to the pool must be added here."""
    assert set(STATUSES) == set(get_args(ModelState))


def test_only_a_load_has_progress(card):
    """As a part of one, in the router's only stage that we have."""
    loading = read_event("m", ModelStatus("key", state="loading", fraction=0.43)).data
    loaded = read_event("m", ModelStatus("key", state="loaded", fraction=1.0)).data

    assert (loading.status, loading.progress.current, loading.progress.value) == (
        "loading",
        "text_model",
        0.43,
    )
    assert loaded.progress is UNSET


def test_the_list_itself_changes():
    """The router's event for that names no model."""
    event = read_event("*", None)

    assert (event.model, event.event, event.data) == ("*", "models_reload", UNSET)
