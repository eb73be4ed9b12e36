import os
from pathlib import Path

import pytest

from engine.checkpoint import CheckpointError, open_checkpoint


def _refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as error:
        open_checkpoint(path)
    return error.value.message


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth", "model.ckpt"])
def test_pickles_are_refused_by_name(name: str, tmp_path: Path):
    """A pickled checkpoint is never opened, since that could run its code."""
    assert "pickled checkpoint" in _refusal(tmp_path / name)


def test_a_folder_of_pickles_says_what_to_do(tmp_path: Path):
    """Where only pickled weights lie, the error says to convert them."""
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x02")

    assert "convert to safetensors" in _refusal(tmp_path)


def test_a_folder_of_gguf_files_says_what_to_do(tmp_path: Path):
    """A GGUF model is named by its file, not by its folder."""
    (tmp_path / "model.gguf").write_bytes(b"GGUF")

    assert "name that file" in _refusal(tmp_path)


def test_a_safetensors_file_belongs_to_its_folder(tmp_path: Path):
    """Without config.json tensors are no model."""
    assert "open the folder" in _refusal(tmp_path / "model.safetensors")


@pytest.mark.parametrize("name", ["model.txt", "none", "a\0b", "x" * 5000])
def test_anything_else_is_refused(name: str, tmp_path: Path):
    """What is neither a .gguf file nor a folder is no checkpoint."""
    assert "neither a .gguf file nor a folder" in _refusal(tmp_path / name)


@pytest.mark.parametrize("name", ["none.gguf", "a\0b.gguf", "x" * 5000 + ".gguf"])
def test_a_gguf_file_that_cannot_be_read_is_refused(name: str, tmp_path: Path):
    """Errors of the operating system are ours, with the file's name."""
    assert "cannot be read" in _refusal(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "model.gguf: is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
        (b"<html><title>404</title></html>", "web page"),
        (b"{}", "is not GGUF"),
    ],
)
def test_files_that_are_no_model_are_told_apart(content: bytes, message: str, tmp_path: Path):
    """Pointers, error pages and empty files are named for what they are."""
    (tmp_path / "model.gguf").write_bytes(content)

    assert message in _refusal(tmp_path / "model.gguf")


def test_pipes_and_folders_are_not_waited_for(tmp_path: Path):
    """Only regular files are read; a pipe that nobody writes to does not block."""
    os.mkfifo(tmp_path / "pipe.gguf")
    (tmp_path / "folder.gguf").mkdir()

    assert "not a regular file" in _refusal(tmp_path / "pipe.gguf")
    assert "not a regular file" in _refusal(tmp_path / "folder.gguf")


@pytest.mark.parametrize("name", ["M.GGUF", "sha256-" + "0" * 64])
def test_gguf_by_other_names(name: str, tmp_path: Path):
    """Suffixes in capitals, and files of Ollama's store, which have none, are opened as GGUF."""
    (tmp_path / name).write_bytes(b"GGUF")

    assert "neither" not in _refusal(tmp_path / name)
