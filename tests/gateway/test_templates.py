import pytest

from gateway.config import SettingsError, load_settings
from gateway.templates import aliases_of, templates_of


def test_a_models_own_aliases_are_aliases():
    """Beside those of the table."""
    settings = load_settings(None, {"aliases": {"a": "x"}, "model": {"y": {"aliases": ["b"]}}}, {})

    assert aliases_of(settings) == {"a": "x", "b": "y"}


def test_an_alias_means_one_model():
    """Of two, neither could be meant."""
    settings = load_settings(None, {"aliases": {"a": "x"}, "model": {"y": {"aliases": ["a"]}}}, {})

    with pytest.raises(SettingsError, match=r"'y'.*aliases: 'a' is one of 'x'"):
        aliases_of(settings)


def test_a_template_is_named_in_either_place(tmp_path):
    """The model's own table wins."""
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
    given = {
        "chat_templates": {"x": str(tmp_path / "one"), "y": str(tmp_path / "one")},
        "model": {"y": {"chat_template": str(tmp_path / "two")}},
    }

    assert templates_of(load_settings(None, given, {})) == {"x": "one", "y": "two"}
