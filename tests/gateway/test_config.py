from pathlib import Path

import pytest

from gateway.config import Settings, SettingsError, load_settings


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "roundhouse.toml"
    path.write_text(text)
    return path


def test_the_command_line_wins_over_the_file(tmp_path):
    """And what it does not say leaves the file's word."""
    path = write(tmp_path, 'port = 1\nhost = "::1"\nmemory = "1GiB"\n[aliases]\nx = "y"\n')

    settings = load_settings(path, {"port": 2, "host": None, "models_dir": Path("m")})

    assert (settings.port, settings.host, settings.memory) == (2, "::1", 2**30)
    assert (settings.aliases, settings.models_dir) == ({"x": "y"}, Path("m"))


def test_a_file_here_is_read_without_being_named(tmp_path, monkeypatch):
    """Without one the built-in settings serve."""
    monkeypatch.chdir(tmp_path)
    assert load_settings() == Settings()
    write(tmp_path, "port = 5")

    assert load_settings().port == 5


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("prot = 1", "`prot`"),
        ("port = 70000", "$.port"),
        ('port = "80"', "$.port"),
        ('memory = "2XB"', "$.memory"),
        ("memory = true", "$.memory"),
        ("[limits]\nchoices = 0", "$.limits.choices"),
        ("[limits]\nchoises = 1", "$.limits"),
        ('dtype = "float8"', "$.dtype"),
        ('[model."a"]\nkv_dtype = "q4_0"', "kv_dtype"),
        ('[presets.b]\nmodel = "a"\ndtype = "float32"', "dtype"),
        ("[chat_templates]\nm = 5", "$.chat_templates"),
        ("port = x", "line 1"),
        ('devices = ["cpu:1GiB", "gpu:1GiB"]', "$.devices[1]"),
        (
            '[model."org/a.b"]\npinn = true',
            "[model.'org/a.b']: Object contains unknown field `pinn`",
        ),
        ('[model.a]\nkeep_alive = "soon"', "[model.'a']: 'soon' is not a duration"),
        ("[presets.a]\ntemperature = 1", "[presets.'a']: Object missing required field `model`"),
        ('[presets.a]\nmodel = "b"\ntop_p = 2', "[presets.'a']: Expected `float` <= 1.0"),
        ("presets = 1", "$.presets"),
        ('[[groups]]\nname = "g"\nmodels = []', "$.groups[0].models"),
        ("[pool]\nvictims = 1", "$.pool.victims"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path, text, named):
    """A typo must not pass for a default."""
    path = write(tmp_path, text)

    with pytest.raises(SettingsError) as caught:
        load_settings(path)
    assert str(path) in str(caught.value)
    assert named in str(caught.value)


def test_json_will_do(tmp_path):
    """By the file's name; a number that a program wrote stays whole."""
    path = tmp_path / "roundhouse.json"
    path.write_text('{"port": 5, "limits": {"body_bytes": 1000}}')

    settings = load_settings(path)

    assert (settings.port, settings.limits.body_bytes) == (5, 1000)


@pytest.mark.parametrize("text", ["[]", "{", "port = 1"])
def test_json_that_is_none_is_refused(tmp_path, text):
    """With the file's name."""
    path = tmp_path / "roundhouse.json"
    path.write_text(text)

    with pytest.raises(SettingsError, match=r"roundhouse\.json"):
        load_settings(path)


def test_a_file_that_was_named_must_be_there(tmp_path):
    """The operator meant it."""
    with pytest.raises(SettingsError, match=r"nothing\.toml"):
        load_settings(tmp_path / "nothing.toml")


@pytest.mark.parametrize(
    ("host", "expected"),
    [("localhost", True), ("127.0.0.2", True), ("::1", True), ("0.0.0.0", False)],
)
def test_loopback(host, expected):
    """There the Host header is checked."""
    assert Settings(host=host).is_loopback is expected


def test_what_is_said_of_models(tmp_path):
    """Tables by name for models and presets, and a list of groups."""
    text = """
    devices = ["cpu:2GiB", "cpu:1GiB"]
    [model."org/a.b"]
    pin = true
    preload = true
    keep_alive = "5m"
    devices = ["cpu:1"]
    tensor_parallel = 1
    [presets.terse]
    model = "org/a.b"
    max_tokens = 50
    keep_alive = -1
    [[groups]]
    name = "large"
    models = ["a", "b"]
    at_most = 1
    [pool]
    pausing = false
    """
    settings = load_settings(write(tmp_path, text))

    model, preset, group = settings.model["org/a.b"], settings.presets["terse"], settings.groups[0]
    assert (model.pin, model.keep_alive, model.devices) == (True, 300, ["cpu:1"])
    assert (model.preload, model.tensor_parallel) == (True, 1)
    assert (preset.model, preset.max_tokens, preset.keep_alive) == ("org/a.b", 50, float("inf"))
    assert (group.models, group.at_most, group.alone) == (["a", "b"], 1, False)
    assert not settings.pool.pausing
    assert settings.total_memory == 3 * 2**30
