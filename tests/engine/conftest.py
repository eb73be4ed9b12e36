"""Checkpoints of tiny models, loaded once."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch

from engine.api import Form
from engine.checkpoint import open_checkpoint
from engine.nn.decoder import CausalLM
from engine.residency.loader import load
from tests.engine.fixture_models import COMMITTED, NUM_FULL_SET, fixture_root

LoadModel = Callable[[Path, Form, torch.dtype], CausalLM]


@pytest.fixture(scope="session")
def load_model() -> LoadModel:
    """Loads a model and keeps it: models do not change."""

    @cache
    def load_once(path: Path, form: Form, dtype: torch.dtype) -> CausalLM:
        with open_checkpoint(path) as checkpoint:
            return load(checkpoint, form, dtype, lambda _: None, lambda: False)

    return load_once


@pytest.fixture(scope="session")
def tiny_llama(load_model) -> CausalLM:
    return load_model(COMMITTED / "llama-plain/llama-plain-F32.gguf", "dense", torch.float32)


@pytest.fixture(scope="session")
def full_fixtures() -> Path:
    """The folder of all 81 fixtures; without it the test is skipped."""
    root = fixture_root()
    if root == COMMITTED:
        absent = NUM_FULL_SET - len(list(COMMITTED.glob("*/reference.json")))
        pytest.skip(
            f"the full set of fixtures is absent: {absent} of {NUM_FULL_SET} are not tested"
        )
    return root
