import json
import re
import tomllib
from pathlib import Path

import jsonschema
import pytest

from gateway.config import SettingsError, load_settings
from gateway.config.fields import descriptions_of, entry_in, hints_of, table_in
from gateway.config.schema import settings_schema, tables

ROOT = Path(__file__).parents[3]
EXAMPLES = re.findall(
    r"```toml\n(.*?)```",
    "".join((ROOT / file).read_text() for file in ("docs/configuration.md", "README.md")),
    re.DOTALL,
)

MISTAKES = [
    "prot = 1",
    "port = 70000",
    'port = "80"',
    'memory = "2XB"',
    "memory = -1",
    'devices = ["gpu:1GiB"]',
    "[limits]\nchoises = 1",
    '[model.a]\nkeep_alive = "soon"',
    "[presets.a]\ntemperature = 1",
    '[presets.a]\nmodel = "b"\ntop_p = 2',
    '[[groups]]\nname = "g"\nmodels = []',
    "[pool]\nvictims = 1",
]


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = settings_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def accepts(path: Path) -> bool:
    try:
        load_settings(path, None, {})
    except SettingsError:
        return False
    return True


@pytest.mark.parametrize("text", EXAMPLES)
def test_what_the_documents_show_is_right(validator, text, tmp_path):
    """For the server and for the schema."""
    path = tmp_path / "example.toml"
    path.write_text(text)

    assert accepts(path)
    validator.validate(tomllib.loads(text))


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_is_one_for_both(validator, text, tmp_path):
    """An editor underlines what the server would refuse."""
    path = tmp_path / "wrong.toml"
    path.write_text(text)

    assert not accepts(path)
    assert not validator.is_valid(tomllib.loads(text))


@pytest.mark.parametrize(
    "value",
    ["2GiB", "700 MiB", "1.5gb", "4096", 4096, "", "GiB", "1e3", "-1", -1, 1.5, True, None, "2 X"],
)
def test_sizes_are_the_same_to_both(validator, value, tmp_path):
    """The schema's pattern says what `gateway.units` reads."""
    path = tmp_path / "size.json"
    path.write_text(json.dumps({"memory": value}))

    assert validator.is_valid({"memory": value}) is accepts(path)


@pytest.mark.parametrize(
    "value", [300, 1.5, -1, "5m", "1h30m", "-1", "300", "1.5h", "", "soon", "5 m", "m", True]
)
def test_durations_are_the_same_to_both(validator, value, tmp_path):
    """As for sizes."""
    settings = {"store": {"keep": value}}
    path = tmp_path / "duration.json"
    path.write_text(json.dumps(settings))

    assert validator.is_valid(settings) is accepts(path)


def test_a_json_file_may_name_its_schema(tmp_path):
    """Editors look for it there."""
    path = tmp_path / "roundhouse.json"
    path.write_text('{"$schema": "roundhouse.schema.json", "port": 5}')

    assert load_settings(path, None, {}).port == 5


def test_every_setting_says_what_it_is():
    """What an editor shows beside a name, and docs/configuration.md, come from the docstrings."""
    silent = [
        f"{table.__name__}.{name}"
        for table in tables()
        for name, hint in hints_of(table).items()
        if not (table_in(hint) or entry_in(hint) or name in descriptions_of(table))
    ]

    assert not silent
