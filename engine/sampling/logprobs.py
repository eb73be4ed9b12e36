"""Log-probabilities as the model has them: before bias, penalties and temperature."""

import torch
from torch import Tensor

from engine.sampling.upload import sent
from engine.wire import Logprob


def score(logits: Tensor, token_ids: list[int], num_top: list[int]) -> list[Logprob]:
    """Each row's log-probability of its token and its `num_top` best; logits: (R, vocab) float32."""
    if not token_ids:
        return []
    logprobs = torch.log_softmax(logits, dim=-1)
    index = sent(token_ids, torch.int64, logits.device).unsqueeze(-1)
    best = logprobs.topk(min(max(num_top), logits.shape[-1]), dim=-1)
    # beside each other, so that a device is waited for but once; float64 holds any id
    parts = (logprobs.gather(-1, index), best.values, best.indices)
    found: list[list[float]] = torch.cat([part.double() for part in parts], dim=-1).tolist()
    width = best.values.shape[1]
    return [
        Logprob(own, list(zip(map(int, rest[width:]), rest[:width], strict=True))[:count])
        for (own, *rest), count in zip(found, num_top, strict=True)
    ]
