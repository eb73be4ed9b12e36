from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog

from gateway.catalog.catalog import Catalog
from gateway.config import ModelSettings, Preset
from gateway.errors import ModelNotFound
from tests.gateway.fakes import FakeEngine
from tests.gateway.live import add_model


@pytest.fixture
async def catalog(fake_engine: FakeEngine, tmp_path: Path) -> AsyncIterator[Catalog]:
    """A model, a preset of it, one that stands in another's name, and one of a model not here."""
    for model in ("org/base", "plain"):
        add_model(fake_engine, tmp_path, model)
    catalog = Catalog(
        tmp_path,
        fake_engine,
        aliases={"quick": "Terse"},
        settings={"BASE": ModelSettings(pin=True)},
        presets={
            "terse": Preset(model="base", max_tokens=9),
            "plain": Preset(model="plain", seed=1),
            "lost": Preset(model="gone"),
        },
        mentioned=["nowhere"],
    )
    yield catalog
    await catalog.stop()


@pytest.mark.parametrize("name", ["terse", "TERSE", "quick"])
async def test_a_preset_shares_its_models_weights(catalog, name):
    """Two names, one key: the pool loads one model. What holds for the model holds for it."""
    base, preset = await catalog.resolve("org/base"), await catalog.resolve(name)

    assert (preset.id, preset.root, preset.preset.max_tokens) == ("terse", "org/base", 9)
    assert preset.key == base.key
    assert preset.settings.pin
    assert base.preset is None


async def test_a_preset_may_stand_in_a_models_name(catalog):
    """That is how the operator sets a model's own defaults."""
    await catalog.wait(5)

    assert (await catalog.resolve("plain")).preset.seed == 1
    assert [model.id for model in catalog.models] == ["org/base", "plain", "terse"]


async def test_a_preset_of_nothing(catalog):
    """Its model may come later; until then there is no such model."""
    with pytest.raises(ModelNotFound, match="gone"):
        await catalog.resolve("lost")


async def test_names_that_lead_nowhere_are_warned_of_once(catalog):
    """Folders change, so a setting for what is not there is no error."""
    with structlog.testing.capture_logs() as logs:
        await catalog.refresh()
        await catalog.refresh()

    warned = [line["models"] for line in logs if line["event"] == "settings_name_no_model"]
    assert warned == [["gone", "nowhere"]]
