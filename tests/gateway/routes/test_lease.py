import math

import pytest

from gateway.catalog.models import KnownModel
from gateway.config import ModelSettings, Preset
from gateway.pool import Terms
from gateway.routes.lease import pool_model, terms_of
from tests.gateway.fakes import make_card

CARD = make_card("/m/tiny.gguf")


@pytest.mark.parametrize(
    ("settings", "terms"),
    [
        (ModelSettings(), Terms()),
        (ModelSettings(pin=True, priority=3), Terms(pinned=True, priority=3)),
        (ModelSettings(keep_alive=60, devices=["cpu:1"]), Terms(False, 60, 0, ("cpu:1",))),
        (ModelSettings(keep_alive=math.inf), Terms()),
        (ModelSettings(keep_alive=0), Terms(keep_alive_seconds=0)),
    ],
)
def test_what_the_operator_says_are_terms(settings, terms):
    """For ever means until its room is needed, which is what holds when nothing is said."""
    assert terms_of(KnownModel("tiny", CARD, 0, settings=settings)) == terms


def test_a_preset_is_no_model_of_its_own_to_the_pool():
    """Its groups, terms and weights are those of its model; its own wishes come with a request."""
    settings = ModelSettings(pin=True)
    preset = Preset(model="tiny", keep_alive=5, priority=9)
    model = KnownModel("tiny", CARD, 0, settings=settings)
    terse = KnownModel("terse", CARD, 0, settings=settings, preset=preset, base="tiny")

    assert pool_model(terse) == pool_model(model)


def test_a_model_is_loaded_in_its_dtypes():
    """Those of its card, whichever preset it is asked by."""
    model = KnownModel("tiny", CARD, 0, dtype="float32", kv_dtype="q8_0")

    assert (pool_model(model).dtype, pool_model(model).kv_dtype) == ("float32", "q8_0")
    assert pool_model(model).key == f"tiny@{CARD.digest[:12]}+float32+q8_0"
