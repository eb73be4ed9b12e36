from gateway.config.load import load
from gateway.config.shown import MASK, shown

FILE = """
port = 1
[limits]
choices = 2
[model."org/x"]
pin = true
[[upstreams]]
name = "up"
base_url = "https://user:hunter2@example.com/v1"
"""


def test_each_setting_says_where_it_comes_from(tmp_path):
    """The last who said it, by the file's or the variable's name."""
    path = tmp_path / "my.toml"
    path.write_text(FILE)
    environ = {"ROUNDHOUSE_LIMITS__PROMPTS": "3", "ROUNDHOUSE_ALIASES": '{fast = "x"}'}

    found = {each.setting: each for each in shown(load(path, {"host": "h"}, environ))}

    assert (found["port"].value, found["port"].source) == (1, str(path))
    assert found["host"].origin == "command line"
    assert found["limits.choices"].origin == "file"
    assert found["limits.prompts"].source == "ROUNDHOUSE_LIMITS__PROMPTS"
    assert found["limits.headers"].origin == "default"
    assert (found["aliases.fast"].value, found["aliases.fast"].origin) == ("x", "environment")
    assert [name for name in found if name.startswith("model.")] == ['model."org/x".pin']


def test_secrets_are_masked(tmp_path):
    """A user and a password in an address are nobody's business."""
    path = tmp_path / "my.toml"
    path.write_text(FILE)

    values = [each.value for each in shown(load(path, None, {}))]

    assert f"https://{MASK}@example.com/v1" in values
    assert "hunter2" not in str(values)
