"""`roundhouse config`, as it is called."""

import json
from pathlib import Path

import jsonschema
import pytest

from gateway.__main__ import main


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to be in, with a folder of models and no keys of the user's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (tmp_path / "models").mkdir()
    return tmp_path


def test_show(here, capsys, monkeypatch):
    """Every setting with its value; who said it, if anybody did."""
    (here / "roundhouse.toml").write_text("port = 1")
    monkeypatch.setenv("ROUNDHOUSE_LIMITS__CHOICES", "3")
    main(["config", "show"])
    lines = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()}

    assert lines["port"] == ["1", "file"]
    assert lines["host"] == ["127.0.0.1"]
    assert lines["limits.choices"] == ["3", "environment", "(ROUNDHOUSE_LIMITS__CHOICES)"]


def test_show_as_json(capsys):
    """For programs."""
    main(["config", "show", "--json"])

    first = json.loads(capsys.readouterr().out)[0]
    assert first == {"setting": "host", "value": "127.0.0.1", "origin": "default", "source": None}


def test_names_without_a_model_are_warnings(here, capsys):
    """Folders change; the exit code is that of success."""
    (here / "models/here.gguf").write_bytes(b"GGUF")
    (here / "roundhouse.toml").write_text(
        '[aliases]\na = "here"\nb = "gone"\n[model.HERE]\npin = true'
    )
    main(["config", "check"])

    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("warning: aliases.b: The model 'gone' does not exist")
    assert said[1:] == ["roundhouse.toml: no mistakes"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("prot = 1", "prot"),
        ('chat_templates = {x = "/nowhere"}', "/nowhere"),
        ("[defaults]\ntemplate_kwargs = {x = 1}", "template_kwargs.x"),
        ('devices = ["cpu:1GiB"]\n[model.x]\ndevices = ["cpu:3"]', "cpu:3"),
        ('host = "0.0.0.0"', "roundhouse key create"),
        ('[tls]\ncertificate = "/nowhere"\nkey = "/nowhere"', "/nowhere"),
    ],
)
def test_what_would_stop_the_start_is_an_error(here, capsys, text, named):
    """Before anything is started: it exits with 1, and says the same as JSON."""
    (here / "roundhouse.toml").write_text(text)
    with pytest.raises(SystemExit, match=named):
        main(["config", "check"])
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["config", "check", "--json"])

    assert ended.value.code == 1
    assert named in json.loads(capsys.readouterr().out)["error"]


def test_schema(capsys):
    """What it prints is one."""
    main(["config", "schema"])

    jsonschema.Draft202012Validator.check_schema(json.loads(capsys.readouterr().out))


def test_docs(here):
    """A file without the tables' marks is left as it is."""
    (here / "x.md").write_text("# X")
    with pytest.raises(SystemExit, match="Settings"):
        main(["config", "docs", "x.md"])

    assert (here / "x.md").read_text() == "# X"
