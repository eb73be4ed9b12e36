from gateway.config import Defaults, ModelSettings, Preset, laid_under

MODEL = ModelSettings(temperature=0.5, seed=2, template_kwargs={"a": 2, "b": 2})
ALL = Defaults(seed=3, system="Be kind.", template_kwargs={"b": 3, "c": 3})


def test_the_nearest_word_counts():
    """A preset's before its model's, and these before those of all models; template switches singly."""
    preset = Preset(model="m", top_p=0.1, template_kwargs={"a": 1})

    merged = laid_under(preset, "m", MODEL, ALL)

    assert merged is not None
    assert (merged.top_p, merged.temperature, merged.seed) == (0.1, 0.5, 2)
    assert merged.system == "Be kind."
    assert merged.template_kwargs == {"a": 1, "b": 2, "c": 3}


def test_a_value_may_be_nothing_much():
    """Zero is a word, not a silence."""
    merged = laid_under(Preset(model="m", temperature=0), "m", MODEL)

    assert merged is not None
    assert merged.temperature == 0


def test_without_a_word_there_is_none():
    """So that most requests are left alone."""
    assert laid_under(None, "m", ModelSettings(pin=True), Defaults()) is None
