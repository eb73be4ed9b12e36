import asyncio

import msgspec
import pytest

from engine.api import EngineError
from gateway.catalog.catalog import MAX_INSPECTIONS, Catalog
from gateway.config import Defaults, ModelSettings
from gateway.errors import ModelLoadFailed, ModelNotFound
from tests.gateway.fakes import FakeEngine
from tests.gateway.live import add_model


@pytest.fixture
async def catalog(fake_engine, tmp_path):
    catalog = Catalog(tmp_path, fake_engine)
    yield catalog
    await catalog.stop()


async def test_a_request_waits_for_the_inspection(catalog, fake_engine, tmp_path):
    """A server that has just started answers as one that has not."""
    card = add_model(fake_engine, tmp_path, "tiny")
    catalog.start()

    model = await catalog.resolve("tiny")

    assert (model.id, model.card) == ("tiny", card)
    assert model.text_source.path == card.path


async def test_good_and_bad_are_told_apart(catalog, fake_engine, tmp_path):
    """A broken file is listed with its reason and stands in nobody's way."""
    add_model(fake_engine, tmp_path, "tiny")
    (tmp_path / "broken.gguf").write_bytes(b"?")

    await catalog.wait(5)

    assert [model.id for model in catalog.models] == ["tiny"]
    assert list(catalog.failures) == ["broken"]
    with pytest.raises(ModelLoadFailed, match="no checkpoint"):
        await catalog.resolve("broken")


async def test_a_file_that_was_mended_is_looked_at_again(catalog, fake_engine, tmp_path):
    """An upload that was not complete when it was first seen, say."""
    path = tmp_path / "late.gguf"
    path.write_bytes(b"?")
    await catalog.wait(5)
    add_model(fake_engine, tmp_path, "late")
    path.write_bytes(b"complete")

    assert (await catalog.resolve("late")).id == "late"


async def test_a_new_file_is_found_and_a_lost_one_forgotten(catalog, fake_engine, tmp_path):
    """The folder is walked again for a name that is unknown."""
    add_model(fake_engine, tmp_path, "old")
    await catalog.resolve("old")
    (tmp_path / "old.gguf").unlink()
    add_model(fake_engine, tmp_path, "new")

    assert (await catalog.resolve("new")).id == "new"
    with pytest.raises(ModelNotFound):
        await catalog.resolve("old")


async def test_a_changed_file_is_another_model_to_the_pool(catalog, fake_engine, tmp_path):
    """What is loaded of the old bytes must not answer for the new ones."""
    add_model(fake_engine, tmp_path, "tiny")
    before = await catalog.resolve("tiny")
    (tmp_path / "tiny.gguf").write_bytes(b"another digest")
    fake_engine.add(type(before.card)(**{f: getattr(before.card, f) for f in before.card.__struct_fields__} | {"digest": "new"}))  # fmt: skip
    await catalog.refresh()

    assert (await catalog.resolve("tiny")).key != before.key


async def test_a_process_that_died_is_no_verdict_on_the_file(catalog, fake_engine, tmp_path):
    """The next request inspects anew."""
    add_model(fake_engine, tmp_path, "tiny")
    fake_engine.errors["inspect"] = EngineError("worker_lost", "died")
    with pytest.raises(EngineError, match="died"):
        await catalog.resolve("tiny")
    del fake_engine.errors["inspect"]

    assert (await catalog.resolve("tiny")).id == "tiny"


class SlowEngine(FakeEngine):
    """Counts inspections, which go on until they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()
        self.begun = asyncio.Event()
        self.running = self.most = self.total = 0

    async def inspect(self, path, *said):
        self.running += 1
        self.total += 1
        self.most = max(self.most, self.running)
        if self.running == MAX_INSPECTIONS:
            self.begun.set()
        await self.go.wait()
        self.running -= 1
        return await super().inspect(path, *said)


async def test_inspections_are_few_at_a_time_and_shared(tmp_path):
    """A folder of a thousand models does not start a thousand; who waits for one shares it."""
    engine = SlowEngine()
    for n in range(6):
        add_model(engine, tmp_path, f"m{n}")
    catalog = Catalog(tmp_path, engine)
    asks = [asyncio.create_task(catalog.resolve("m0")) for _ in range(5)]
    await engine.begun.wait()
    await catalog.wait(0.01)
    assert not catalog.models
    engine.go.set()
    await asyncio.gather(*asks)
    await catalog.wait(5)

    assert engine.most == MAX_INSPECTIONS
    assert engine.total == len(catalog.models) == 6


async def test_many_unknown_names_share_a_walk(catalog, monkeypatch):
    """Asking for nonsense costs the disk next to nothing."""
    walks = []
    monkeypatch.setattr("gateway.catalog.catalog.find_models", lambda r, _: walks.append(r) or [])

    asks = [catalog.resolve(f"x{n}") for n in range(50)]
    results = await asyncio.gather(*asks, return_exceptions=True)

    assert all(isinstance(result, ModelNotFound) for result in results)
    assert len(walks) <= 2


async def test_aliases_and_templates_belong_to_models(fake_engine, tmp_path):
    """The operator may name a model in any way that finds it."""
    add_model(fake_engine, tmp_path, "org/base", tasks=("completion",))
    catalog = Catalog(tmp_path, fake_engine, {"gpt": "BASE"}, {"base": "{{ x }}", "gone": "?"})

    model = await catalog.resolve("gpt")

    assert model.aliases == ("gpt",)
    assert model.card.tasks == ("chat", "completion")
    assert model.text_source.chat_template == "{{ x }}"
    await catalog.stop()


async def test_a_model_is_inspected_as_it_will_be_loaded(fake_engine, tmp_path):
    """What it takes depends on it; what is loaded in something else is another to the pool."""
    add_model(fake_engine, tmp_path, "tiny")
    add_model(fake_engine, tmp_path, "other")
    catalog = Catalog(tmp_path, fake_engine, settings={"TINY": ModelSettings(dtype="float32")})
    exact, other = await catalog.resolve("tiny"), await catalog.resolve("other")
    assert (exact.dtype, other.dtype) == ("float32", "auto")

    told(catalog, {"tiny": ModelSettings(kv_dtype="q8_0")})
    packed = await catalog.resolve("tiny")
    told(catalog, {"tiny": ModelSettings(temperature=0.5, kv_dtype="q8_0")})
    assert (await catalog.resolve("tiny")).key == packed.key
    assert (packed.dtype, packed.kv_dtype) == ("auto", "q8_0")
    assert len({exact.key, packed.key, other.key}) == 3
    asked = [how for path, _, *how in fake_engine.inspections if path.endswith("tiny.gguf")]
    assert asked == [["float32", "auto"], ["auto", "q8_0"]]
    await catalog.stop()


class TellingEngine(SlowEngine):
    """Its cards say what they were made for."""

    async def inspect(self, path, *said):
        card = await super().inspect(path, *said)
        return msgspec.structs.replace(card, quantization=said[1])


async def test_a_card_goes_with_what_it_was_made_for(tmp_path):
    """Also where the settings change while it is made: of such a model nothing is mixed."""
    engine = TellingEngine()
    add_model(engine, tmp_path, "tiny")
    catalog = Catalog(tmp_path, engine, settings={"tiny": ModelSettings(dtype="float32")})
    await catalog.wait(0.01)
    asking = asyncio.create_task(catalog.resolve("tiny"))
    for _ in range(10):
        await asyncio.sleep(0)
    told(catalog, {"tiny": ModelSettings(dtype="bfloat16")})
    engine.go.set()

    before, after = await asking, await catalog.resolve("tiny")
    assert (before.dtype, before.card.quantization) == ("float32", "float32")
    assert (after.dtype, after.card.quantization) == ("bfloat16", "bfloat16")
    await catalog.stop()


async def test_a_name_that_leads_elsewhere_takes_its_settings_along(fake_engine, tmp_path):
    """The model that has them no more is inspected anew."""
    add_model(fake_engine, tmp_path, "org/tiny")
    catalog = Catalog(tmp_path, fake_engine, settings={"tiny": ModelSettings(dtype="float32")})
    assert (await catalog.resolve("org/tiny")).dtype == "float32"
    add_model(fake_engine, tmp_path, "tiny")
    await catalog.refresh()

    assert (await catalog.resolve("tiny")).dtype == "float32"
    assert (await catalog.resolve("org/tiny")).dtype == "auto"
    await catalog.stop()


def told(catalog: Catalog, settings: dict[str, ModelSettings]) -> None:
    """Nothing else changes."""
    catalog.reconfigure(
        aliases={},
        chat_templates={},
        settings=settings,
        presets={},
        defaults=Defaults(),
        mentioned=(),
    )
