"""Where the benchmarks keep what they make: folders that git ignores."""

import os
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
PEER = HERE / ".peer"
LITELLM = HERE / ".litellm"
MODELS = Path(os.environ.get("BENCH_MODELS", HERE / ".models"))
DEMO_MODELS = Path(os.environ.get("MODELS", ROOT / "models"))


def room_for(needed_bytes: int, limit_bytes: int, folder: Path = MODELS) -> None:
    """Removes files that were used longest ago until `needed_bytes` more stay within the limit."""
    files = sorted(folder.glob("*.gguf"), key=lambda path: path.stat().st_mtime)
    kept = sum(path.stat().st_size for path in files)
    for path in files:
        if kept + needed_bytes <= limit_bytes:
            return
        kept -= path.stat().st_size
        path.unlink()
