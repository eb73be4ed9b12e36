from torch import Tensor

from engine.kernels import ops
from engine.kernels.batch import ForwardBatch
from engine.nn.config import DecoderConfig
from engine.nn.module import Module, Table
from engine.nn.rope_scaling import RopeParameters, frequencies, rotary_dim_of


class Rope(Module):
    """Rotary positions of the first `rotary_dim` values of each head, in half-split pairs.

    "dynamic" ropes are plain here: no sequence is served beyond max_positions. query_beta,
    query_period: queries grow with their position as `ops.scale_by_position` says, if beta is set.
    """

    inv_freq: Tensor
    length_switch: int | None = None

    def __init__(self, parameters: RopeParameters, rotary_dim: int, max_positions: int) -> None:
        turned = frequencies(parameters, rotary_dim, max_positions)
        super().__init__(inv_freq=Table(turned.inv_freq))
        self._attention_factor = turned.attention_factor
        self.query_beta = parameters.llama_4_scaling_beta
        self.query_period = parameters.original_max_position_embeddings or max_positions

    def table(self, batch: ForwardBatch) -> Tensor:
        """Cosines and sines for the batch's rows: (T, 2, rotary_dim / 2)."""
        return ops.rope_table(batch.positions, self.inv_freq, self._attention_factor)


class LongRope(Rope):
    """Frequencies of their own for sequences longer than the model was first trained for.

    All of a sequence has those that its length asks for. One that outgrows `length_switch` must be
    computed anew, as transformers does.
    """

    long_inv_freq: Tensor

    def __init__(self, parameters: RopeParameters, rotary_dim: int, max_positions: int) -> None:
        super().__init__(parameters, rotary_dim, max_positions)
        switch = parameters.original_max_position_embeddings or max_positions
        longer = frequencies(parameters, rotary_dim, max_positions, switch + 1)
        self.length_switch = self._switch = switch
        self.slots["long_inv_freq"] = Table(longer.inv_freq)
        self._factors = self._attention_factor, longer.attention_factor

    def table(self, batch: ForwardBatch) -> Tensor:
        return ops.longrope_table(
            batch.positions,
            batch.lengths,
            self.inv_freq,
            self.long_inv_freq,
            switch=self._switch,
            factors=self._factors,
        )


def rope_of(c: DecoderConfig, layer_type: str = "full_attention") -> Rope:
    """The rope of a config's layers of one type. Partial ones turn the first values of a head."""
    parameters = c.rope_parameters[layer_type]
    rotary_dim = rotary_dim_of(parameters, c.head_dim)
    kind = LongRope if parameters.rope_type == "longrope" else Rope
    return kind(parameters, rotary_dim, c.max_position_embeddings)
