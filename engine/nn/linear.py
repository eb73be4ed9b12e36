from torch import Tensor

from engine.kernels import ops
from engine.kernels.weight import Weight
from engine.nn.module import Matrix, Module, Vector


class Linear(Module):
    """(T, in_features) to (T, out_features).

    Ranks may have some of its outputs each, or some of its inputs: then they add their products up.
    """

    divides = True
    weight: Weight
    bias: Tensor | None = None

    def __init__(self, in_features: int, out_features: int, *, bias: bool = False) -> None:
        super().__init__(weight=Matrix(out_features, in_features))
        if bias:
            self.slots["bias"] = Vector(out_features)

    def __call__(self, x: Tensor) -> Tensor:
        product = ops.linear(x, self.weight, self.bias)
        return product if self.group is None else ops.all_reduce(product, self.group)


class Embedding(Module):
    """Token ids (T,) to (T, hidden_size)."""

    weight: Weight

    def __init__(self, vocab_size: int, hidden_size: int) -> None:
        super().__init__(weight=Matrix(vocab_size, hidden_size))

    def __call__(self, token_ids: Tensor) -> Tensor:
        return ops.embedding(token_ids, self.weight)


class Head(Linear):
    """Hidden states (R, hidden_size) to logits (R, vocab_size), float32."""

    divides = False

    def __call__(self, x: Tensor) -> Tensor:
        return ops.logits(x, self.weight, self.bias)


class TiedHead(Module):
    """A head that multiplies by the embedding's weight: one `Weight`, shared."""

    def __init__(self, embedding: Embedding) -> None:
        super().__init__()
        self._embedding = embedding

    def __call__(self, x: Tensor) -> Tensor:
        return ops.logits(x, self._embedding.weight)
