"""`docs/keys.md`: its commands run, and its settings are settings."""

import re
import shlex
from pathlib import Path

import pytest

from gateway.__main__ import main
from gateway.config import load_settings
from gateway.keys.file import read_keys

DOC = (Path(__file__).parents[3] / "docs/keys.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOC, re.DOTALL)


def test_commands_run_as_they_stand(tmp_path, monkeypatch, capsys):
    """One after the other, on a machine without keys."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (commands,) = blocks("sh")
    for line in commands.splitlines():
        program, *words = shlex.split(line)
        assert program == "roundhouse"
        main(words)

    assert "ci is revoked." in capsys.readouterr().out


@pytest.mark.parametrize("text", blocks("toml"))
def test_files_can_be_read(tmp_path, text):
    """As settings, or as keys."""
    path = tmp_path / "file.toml"
    path.write_text(text)
    if text.startswith("[[keys]]"):
        assert read_keys(path)
    else:
        assert load_settings(path)
