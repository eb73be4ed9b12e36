import gguf
import pytest
import torch

from engine.checkpoint import CheckpointError, open_checkpoint
from engine.residency.loader import load
from tests.engine.batches import logprobs_of
from tests.engine.fixture_models import COMMITTED

SOURCE = COMMITTED / "llama-plain/llama-plain-F32.gguf"
PROMPT = list(range(3, 40))


@pytest.fixture
def first_part(tmp_path):
    """llama-plain as gguf-py splits it, at most 4 tensors a part."""
    reader = gguf.GGUFReader(SOURCE)
    arch = reader.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", arch, split_max_tensors=4)
    for name, entry in reader.fields.items():
        if not name.startswith(("GGUF.", "general.architecture")):
            sub_type = entry.types[1] if len(entry.types) > 1 else None
            writer.add_key_value(name, entry.contents(), entry.types[0], sub_type)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return min(tmp_path.glob("m-00001-of-*.gguf"))


def logprobs(path, form):
    with open_checkpoint(path) as checkpoint:
        model = load(checkpoint, form, torch.float32, lambda _: None, lambda: False)
    return logprobs_of(model, PROMPT)


@pytest.mark.parametrize("form", ["dense", "packed"])
def test_a_split_file_is_the_whole_one(first_part, form):
    """Its parts hold one model; the first is opened."""
    assert len(list(first_part.parent.iterdir())) > 3
    assert torch.equal(logprobs(first_part, form), logprobs(SOURCE, form))


def test_a_missing_part_is_named(first_part):
    """Not a model with holes."""
    second = next(first_part.parent.glob("m-00002-of-*.gguf"))
    second.unlink()
    with pytest.raises(CheckpointError, match=second.name):
        open_checkpoint(first_part)
