import torch

from engine.nn.module import Matrix, Module, Table, Vector, parameters


class Leaf(Module):
    def __init__(self) -> None:
        super().__init__(weight=Matrix(2, 3), bias=Vector(2))


class Tree(Module):
    def __init__(self) -> None:
        super().__init__(table=Table((1.0,)))
        self.first = Leaf()
        self.layers = [Leaf(), Leaf()]
        self.absent = None
        self.again = self.first


def test_paths_follow_attributes():
    """A parameter's path is spelt from attribute names and places in lists; shared blocks once."""
    assert [parameter.path for parameter in parameters(Tree())] == [
        "table",
        *("first.weight", "first.bias"),
        *("layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias"),
    ]


def test_setting_a_parameter_reaches_its_block():
    """What a loader sets is what the block computes with."""
    tree = Tree()
    bias = next(item for item in parameters(tree) if item.path == "layers.1.bias")
    bias.set(torch.ones(2))

    assert tree.layers[1].bias is bias.get()
    assert not hasattr(tree.layers[0], "bias")
