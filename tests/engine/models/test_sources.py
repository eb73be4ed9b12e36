import torch

from engine.checkpoint import TensorInfo
from engine.models.sources import Part, Source, TransposedTensor


def test_a_part_is_rows_in_a_row():
    """Of one group: a view, nothing is copied."""
    rows = torch.arange(12, dtype=torch.uint8).view(6, 2)
    part = Part(1, 4).of(rows)

    assert part.tolist() == rows[1:4].tolist()
    assert part.data_ptr() == rows[1:].data_ptr()


def test_parts_of_groups_are_joined():
    """Falcon's: two queries, a key and a value, for each head of keys in turn."""
    rows = torch.arange(8)[:, None]

    assert Part(0, 2, num_groups=2).of(rows).flatten().tolist() == [0, 1, 4, 5]
    assert Part(3, 4, num_groups=2).of(rows).flatten().tolist() == [3, 7]


def test_bytes_are_those_of_the_rows():
    """What a part takes of a stored matrix, or of a stack of them."""
    matrix = TensorInfo("w", (6, 32), "Q8_0", 6 * 34)

    assert Source(matrix).nbytes == 204
    assert Source(matrix, Part(1, 4)).nbytes == 102
    assert Source(TensorInfo("w", (2, 3, 32), "F32", 768)).num_rows == 6
    assert Source(matrix, Part(1, 4)).rows(torch.zeros(204, dtype=torch.uint8)).shape == (3, 34)


def test_transposed_stacks_have_their_rows_turned():
    """GPT-OSS: each matrix of a stack is stored as (in, out); its columns are our rows."""
    stored = torch.arange(12, dtype=torch.int16).view(2, 2, 3)
    tensor = TransposedTensor("w", (2, 3, 2), "BF16", 24)
    rows = Source(tensor, Part(0, 2, num_groups=2)).rows(stored.flatten().view(torch.uint8))

    assert rows.view(torch.int16).tolist() == [[0, 3], [1, 4], [6, 9], [7, 10]]


def test_values_of_stacked_vectors_are_rows():
    """Biases of experts, of which every other value is the gate's."""
    stored = torch.arange(8, dtype=torch.float32)
    source = Source(TensorInfo("b", (2, 4), "F32", 32), Part(0, 1, num_groups=4), of_vectors=True)

    assert source.rows(stored.view(torch.uint8)).view(torch.float32).flatten().tolist() == [
        0,
        2,
        4,
        6,
    ]
