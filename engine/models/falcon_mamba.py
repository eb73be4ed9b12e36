"""Falcon-Mamba: Mamba, with norms of dt, B and C.

Checked against transformers 5.23 (models/falcon_mamba). Its GGUF files say mamba, with a key.
"""

from engine.models import mamba
from engine.models.family import Family


class Config(mamba.Config, frozen=True, kw_only=True):
    dt_b_c_rms: bool = True


FAMILY = Family(
    "falcon_mamba",
    ("FalconMambaForCausalLM",),
    ("falcon_mamba",),
    (),
    Config,
    mamba.build,
    mamba.NAMES,
)
