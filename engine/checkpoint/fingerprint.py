"""Whether a checkpoint is the one that something was made of, without reading all of it."""

from engine.checkpoint.checkpoint import Checkpoint, Digest
from engine.checkpoint.source_file import SourceFile

SAMPLES = 64
"""Places of a file that are read, beside its end."""

SAMPLE_BYTES = 4096


def fingerprint(checkpoint: Checkpoint) -> str:
    """Its digest, and of each file inode, size, time of change and samples of the content.

    Milliseconds where the samples are in memory. Raises `CheckpointError` where a file was changed
    since the checkpoint was opened.
    """
    digest = Digest()
    digest.add(checkpoint.digest.encode())
    for file in checkpoint.files:
        for offset, size in _samples(file):
            digest.add(file.read_at(offset, size), offset, *file.stamp)
    return digest.hex()


def _samples(file: SourceFile) -> list[tuple[int, int]]:
    """Offsets and sizes, from the first byte to the last; all of a small file."""
    step = max(SAMPLE_BYTES, -(-file.size // SAMPLES))
    starts = [*range(0, file.size, step), max(0, file.size - SAMPLE_BYTES)]
    return [(start, min(SAMPLE_BYTES, file.size - start)) for start in starts]
