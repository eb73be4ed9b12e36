import re
from pathlib import Path

import pytest

from gateway.config import SettingsError, load_settings
from gateway.config.environment import OTHERS, PREFIX, settings_in

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("name", "text", "read"),
    [
        ("PORT", "8081", lambda s: s.port == 8081),
        ("HOST", "0", lambda s: s.host == "0"),
        ("MEMORY", "2GiB", lambda s: s.memory == 2**31),
        ("MEMORY", "4096", lambda s: s.memory == 4096),
        ("LIMITS__BODY_BYTES", "50MB", lambda s: s.limits.body_bytes == 50_000_000),
        ("POOL__PAUSING", "false", lambda s: s.pool.pausing is False),
        ("DEVICES", '["cpu:1GiB"]', lambda s: s.devices == ["cpu:1GiB"]),
        ("ALIASES", '{"fast": "org/x"}', lambda s: s.aliases == {"fast": "org/x"}),
        ("ALIASES", '{fast = "org/x"}', lambda s: s.aliases == {"fast": "org/x"}),
        ("MODEL", '{"org/x" = {pin = true}}', lambda s: s.model["org/x"].pin),
        ("PORT", "", lambda s: s.port == 8080),
    ],
)
def test_a_variable_is_read_as_its_settings_type(name, text, read):
    """As it is, as JSON, or as TOML; an empty one says nothing."""
    assert read(load_settings(None, None, {PREFIX + name: text}))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("PROT", "1", "ROUNDHOUSE_PROT: there is no setting 'prot'"),
        ("LIMITS__BODY", "1", r"ROUNDHOUSE_LIMITS__BODY: .* 'body' in \[limits\]"),
        ("PORT", "http", "ROUNDHOUSE_PORT: Expected `int`"),
        ("PORT", "70000", "ROUNDHOUSE_PORT: Expected `int` <= 65535"),
        ("MODEL__X__PIN", "true", "ROUNDHOUSE_MODEL__X__PIN: set ROUNDHOUSE_MODEL as a whole"),
        ("MODEL", "{x = {pinn = true}}", "ROUNDHOUSE_MODEL: .*`pinn`"),
    ],
)
def test_a_wrong_variable_is_named(name, text, message):
    """A typo in a variable must not pass for a default any more than one in the file."""
    with pytest.raises(SettingsError, match=message):
        load_settings(None, None, {PREFIX + name: text})


def test_each_lies_over_those_before(tmp_path):
    """Defaults, then the file, then the environment, then the command line; tables one by one."""
    path = tmp_path / "my.toml"
    path.write_text('port = 1\nhost = "::1"\ndtype = "float32"\n[limits]\nchoices = 2\nprompts = 2')
    environ = {"ROUNDHOUSE_PORT": "3", "ROUNDHOUSE_HOST": "h", "ROUNDHOUSE_LIMITS__CHOICES": "3"}

    settings = load_settings(path, {"port": 4}, environ)

    assert (settings.port, settings.host, settings.dtype) == (4, "h", "float32")
    assert (settings.limits.choices, settings.limits.prompts) == (3, 2)


def test_a_variable_within_what_should_be_a_table_leaves_the_files_mistake_to_be_named(tmp_path):
    """`limits = 5` is what the operator has to mend."""
    path = tmp_path / "my.toml"
    path.write_text("limits = 5")

    with pytest.raises(SettingsError, match=r"my\.toml: Expected `object`.*limits"):
        load_settings(path, None, {"ROUNDHOUSE_LIMITS__CHOICES": "3"})


def test_what_kubernetes_puts_there_is_nobodys_setting():
    """A service called roundhouse gives every pod beside it such variables."""
    links = {
        "ROUNDHOUSE_PORT": "tcp://10.0.0.1:8080",
        "ROUNDHOUSE_SERVICE_HOST": "10.0.0.1",
        "ROUNDHOUSE_SERVICE_PORT": "8080",
        "ROUNDHOUSE_SERVICE_PORT_HTTP": "8080",
        "ROUNDHOUSE_PORT_8080_TCP": "tcp://10.0.0.1:8080",
        "ROUNDHOUSE_PORT_8080_TCP_ADDR": "10.0.0.1",
        "ROUNDHOUSE_CANARY_PORT": "tcp://10.0.0.1:8080",
    }

    assert settings_in(links) == {}


def test_every_variable_that_the_code_reads_is_known():
    """Else setting it would stop the server."""
    folders = ("gateway", "engine", "tests/support")
    read = {
        name
        for folder in folders
        for file in (ROOT / folder).glob("**/*.py")
        for name in re.findall(r"os\.environ[^\n]*\"(ROUNDHOUSE_[A-Z_]+)\"", file.read_text())
    }

    assert read
    assert read <= OTHERS
