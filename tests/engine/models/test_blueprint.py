import pytest

from engine.checkpoint import CheckpointError, open_checkpoint
from engine.models.blueprint import blueprint
from tests.engine.fixture_models import hf_copy


def test_settings_that_do_not_fit_each_other_are_refused(tmp_path):
    """Each may be right by itself: here one divisor for a head of more pairs."""
    stretched = {"type": "longrope", "short_factor": [1.0], "long_factor": [1.0], "factor": 2.0}
    path = hf_copy(tmp_path, "llama-bf16", config={"rope_scaling": stretched})

    with (
        open_checkpoint(path) as checkpoint,
        pytest.raises(CheckpointError, match="config: 1 longrope factors"),
    ):
        blueprint(checkpoint)
