import gguf
import pytest

from engine.checkpoint import CheckpointError, open_checkpoint
from engine.models.registry import families, family_of
from tests.engine.fixture_models import COMMITTED, NUM_FULL_SET, hf_copy, reference


def family_at(path) -> str:
    with open_checkpoint(path) as checkpoint:
        return family_of(checkpoint).name


def family_or_refusal(path) -> str:
    try:
        return family_at(path)
    except CheckpointError as error:
        return error.message


def test_families_are_found_by_themselves():
    """A module with a FAMILY is enough; names and architectures are each claimed once."""
    found = families()
    words = [word for family in found for word in (*family.architectures, *family.model_types)]

    assert {"llama", "gemma3"} <= {family.name for family in found}
    assert len(words) == len(set(words))


def test_both_formats_name_their_family():
    """By architectures or model_type, and by general.architecture."""
    assert family_at(COMMITTED / "gemma3-swa/hf") == "gemma3"
    assert family_at(COMMITTED / "gemma3-swa/gemma3-swa-BF16.gguf") == "gemma3"


def test_one_architecture_may_be_two_families(full_fixtures):
    """GGUF calls Mixtral llama, too: it is the one with experts."""
    assert family_at(full_fixtures / "mixtral-moe/mixtral-moe-BF16.gguf") == "mixtral"
    assert family_at(full_fixtures / "llama-plain/llama-plain-F32.gguf") == "llama"


def write_empty_gguf(path, architecture: str, *, kind: str = "model"):
    """A GGUF file without tensors."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_type(kind)
    writer.add_expert_count(8)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_gguf_architectures_are_refused_by_their_own_name(tmp_path):
    """Whatever else they are looked up by."""
    path = write_empty_gguf(tmp_path / "m.gguf", "grok")

    assert "architecture grok is not supported" in family_or_refusal(path)


@pytest.mark.parametrize("kind", ["imatrix", "adapter", "mmproj"])
def test_what_goes_with_a_model_is_none(tmp_path, kind):
    """Importance matrices, adapters and projectors are told apart from models."""
    path = write_empty_gguf(tmp_path / "m.gguf", "llama", kind=kind)

    assert f"its general.type is {kind!r}" in family_or_refusal(path)


def test_model_type_serves_where_architectures_are_unknown(tmp_path):
    """Fine-tunes rename their class, not their type."""
    changes = {"architectures": ["MyLlama"], "model_type": "llama"}

    assert family_at(hf_copy(tmp_path, "llama-bf16", config=changes)) == "llama"


def test_an_unknown_architecture_is_refused_with_the_known_ones(tmp_path):
    """Its name, and what would have worked."""
    changes = {"architectures": ["GrokForCausalLM"], "model_type": "grok"}
    path = hf_copy(tmp_path, "llama-bf16", config=changes)
    with pytest.raises(CheckpointError, match=r"GrokForCausalLM.*LlamaForCausalLM"):
        family_at(path)


@pytest.mark.parametrize("odd", [None, [], 3, [3], [None], {"a": 1}, "x"])
def test_odd_architectures_are_refused(tmp_path, odd):
    """Whatever lies under the key, the error is a checkpoint's."""
    path = hf_copy(tmp_path, "llama-bf16", config={"architectures": odd, "model_type": None})
    with pytest.raises(CheckpointError, match="architecture"):
        family_at(path)


def test_every_other_fixture_is_of_a_known_family_or_refused_by_name(full_fixtures):
    """None of the 81 models is taken for something else."""
    models = sorted(folder.name for folder in full_fixtures.iterdir() if folder.is_dir())
    ours = tuple(family.name for family in families())
    others = [model for model in models if not model.startswith(("llama-", "gemma3-"))]
    checkpoints = [
        full_fixtures / model / key for model in others for key in reference(model)["files"]
    ]
    outcomes = {str(path): family_or_refusal(path) for path in checkpoints}

    assert len(models) == NUM_FULL_SET
    for path, outcome in outcomes.items():
        assert outcome in ours or "is not supported" in outcome, path
