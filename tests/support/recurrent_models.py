"""Servable models with states, made from a seed: the committed fixtures have none."""

import json
import shutil
from pathlib import Path

import transformers

from gateway_process import ROOT
from tests.engine.core.test_recurrent import SSM
from tests.engine.made_models import SIZES, make, write

RECURRENT = ("mamba", "falcon")
"""Nothing but states, and states beside keys and values."""

_TOKENIZER = ROOT / "tests/fixtures/qwen3-dense/hf"
_H1 = {"mamba_d_ssm": 64, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8}


def write_recurrent(folder: Path, context_length: int) -> None:
    """Checkpoints under these names, with the tokenizer of a fixture."""
    vocab_size = json.loads((_TOKENIZER / "config.json").read_bytes())["vocab_size"]
    sizes = SIZES | {"vocab_size": vocab_size, "max_position_embeddings": context_length}
    mamba = transformers.MambaConfig(**sizes, **SSM, state_size=8)
    falcon = transformers.FalconH1Config(**sizes, **_H1, mamba_n_groups=1)
    write(folder / "mamba", make(transformers.MambaForCausalLM, mamba))
    write(folder / "falcon", make(transformers.FalconH1ForCausalLM, falcon))
    for name in RECURRENT:
        for file in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(_TOKENIZER / file, folder / name)
