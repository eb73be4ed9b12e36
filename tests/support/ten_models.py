"""Small models of ten families, which take about the same memory each."""

from pathlib import Path

from crowd import collect
from recurrent_models import RECURRENT, write_recurrent

FAMILIES = (
    "llama-plain/llama-plain-F32.gguf",
    "gemma3-q/gemma3-q-Q4_K_M.gguf",
    "mixtral-moe/mixtral-moe-BF16.gguf",
    "gemma3-swa/hf",
    "qwen3-dense/hf",
    "gptoss-mxfp4/hf",
    "deepseek2-lite/hf",
    "gemma4-shared-kv/hf",
)

TEN = (
    *(Path(each).parent.name if each.endswith("/hf") else Path(each).stem for each in FAMILIES),
    *RECURRENT,
)
"""Their names once they are in a folder."""


def collect_ten(folder: Path) -> list[Path]:
    """Puts all of them there."""
    collect(folder, FAMILIES)
    write_recurrent(folder, context_length=2048)
    return sorted(folder.iterdir())
