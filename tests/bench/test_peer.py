from pathlib import Path

import peer
import pytest


def test_named_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """$LLAMA_CPP names the tools to measure."""
    monkeypatch.setenv("LLAMA_CPP", str(tmp_path))
    (tmp_path / "llama-bench").touch()

    assert peer.tool("llama-bench") == tmp_path / "llama-bench"


def test_missing_tool_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is built behind one's back: it takes minutes."""
    monkeypatch.setenv("LLAMA_CPP", str(tmp_path))

    with pytest.raises(SystemExit, match="make bench-peer"):
        peer.tool("llama-server")


def test_named_folder_is_never_built_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that somebody named and that lacks a tool is their mistake to mend."""
    monkeypatch.setenv("LLAMA_CPP", str(tmp_path))

    with pytest.raises(SystemExit, match="lacks some of"):
        peer.build()


def test_whole_folder_is_not_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second call costs nothing."""
    monkeypatch.setenv("LLAMA_CPP", str(tmp_path))
    for name in peer.TOOLS:
        (tmp_path / name).touch()

    assert peer.build() == tmp_path
