import msgspec

from gateway.config import Limits, ModelSettings, Settings
from gateway.config.changes import LIVE, changes, taken_over

OLD = Settings(aliases={"a": "x"}, model={"x": ModelSettings(pin=True)})
NEW = Settings(
    port=1,
    aliases={"a": "y"},
    limits=Limits(choices=2),
    model={"x": ModelSettings(), "org/z": ModelSettings(seed=1)},
)


def test_changes_are_told_apart():
    """By name: those a running server takes over, and those that wait for its next start."""
    found = changes(OLD, NEW)

    names = {"aliases.a", "limits.choices", "model.x.pin", 'model."org/z".seed'}
    assert set(found.live) == names
    assert found.restart == ("port",)
    assert changes(OLD, OLD) == changes(NEW, NEW) == type(found)()


def test_what_needs_a_restart_stays_as_it_was():
    """So that the settings at hand are always those in force."""
    settings = taken_over(OLD, NEW)

    assert (settings.port, settings.aliases, settings.limits.choices) == (8080, {"a": "y"}, 2)
    assert not changes(settings, NEW).live


def test_live_settings_are_settings():
    """A name that is none would be taken for one that needs no restart."""
    assert set(Settings.__struct_fields__) >= LIVE
    assert msgspec.structs.asdict(taken_over(OLD, NEW)).keys() == set(Settings.__struct_fields__)
