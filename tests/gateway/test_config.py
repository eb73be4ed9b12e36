from pathlib import Path

import pytest

from gateway.config import Settings, SettingsError, load_settings, parse_bytes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4096", 4096),
        ("2GiB", 2 * 2**30),
        ("700MiB", 700 * 2**20),
        ("700 mib", 700 * 2**20),
        ("1.5GB", 1_500_000_000),
        ("2G", 2 * 2**30),
        ("12kB", 12_000),
    ],
)
def test_sizes(text, expected):
    """Binary and decimal units, as they are written elsewhere."""
    assert parse_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "GiB", "-1", "2XB", "1e9", "2 G i B"])
def test_what_is_no_size(text):
    """Is refused with an example of one."""
    with pytest.raises(ValueError, match="is not a size such as"):
        parse_bytes(text)


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
        ("[chat_templates]\nm = 5", "$.chat_templates"),
        ("port = x", "line 1"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path, text, named):
    """A typo must not pass for a default."""
    path = write(tmp_path, text)

    with pytest.raises(SettingsError) as caught:
        load_settings(path)
    assert str(path) in str(caught.value)
    assert named in str(caught.value)


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
