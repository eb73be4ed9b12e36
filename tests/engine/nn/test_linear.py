import torch

from engine.kernels.weight import Weight
from engine.nn.linear import Embedding, Linear, TiedHead
from engine.nn.module import parameters


def test_a_bias_is_declared_only_where_there_is_one():
    """Checkpoints without biases are not asked for them."""
    assert [item.path for item in parameters(Linear(3, 2))] == ["weight"]
    assert [item.path for item in parameters(Linear(3, 2, bias=True))] == ["weight", "bias"]


def test_a_tied_head_shares_the_embedding_s_weight():
    """One matrix in memory: ids to rows, and rows to logits."""
    embedding = Embedding(4, 3)
    head = TiedHead(embedding)
    embedding.weight = Weight.dense(torch.eye(4, 3))

    assert head(embedding(torch.tensor([2]))).tolist() == [[0, 0, 1, 0]]
