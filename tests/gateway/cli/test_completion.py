import subprocess

import pytest

from gateway.cli.completion import SHELLS


@pytest.mark.parametrize("shell", SHELLS)
def test_commands_and_options_are_known(roundhouse, shell):
    """And names of models are asked of the server."""
    script = roundhouse("completion", shell)

    for word in ("serve", "unload", "keep-alive", "roundhouse list --names"):
        assert word in script


def test_bash_completes(roundhouse, tmp_path):
    """Sourced by a real shell: a command by its beginning, then the name of a model."""
    (tmp_path / "complete").write_text(roundhouse("completion", "bash"))
    (tmp_path / "roundhouse").write_text("#!/bin/sh\necho tiny-model\n")
    (tmp_path / "roundhouse").chmod(0o755)
    asked = """
    source ./complete
    try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _shtab_roundhouse; }
    try roundhouse unl; echo "${COMPREPLY[@]}"
    try roundhouse load ti; echo "${COMPREPLY[@]}"
    """
    command = ["bash", "-c", f"PATH=$PWD:$PATH; {asked}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.stdout.split() == ["unload", "tiny-model"], done.stderr
