"""Log-probabilities as the model has them: before bias, penalties and temperature."""

import torch
from torch import Tensor

from engine.wire import Logprob


def score(logits: Tensor, token_ids: list[int], num_top: list[int]) -> list[Logprob]:
    """Each row's log-probability of its token and its `num_top` best; logits: (R, vocab) float32."""
    if not token_ids:
        return []
    logprobs = torch.log_softmax(logits, dim=-1)
    index = torch.tensor(token_ids, device=logits.device).unsqueeze(-1)
    own: list[float] = logprobs.gather(-1, index).flatten().tolist()
    best = logprobs.topk(min(max(num_top), logits.shape[-1]), dim=-1)
    tops = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return [
        Logprob(logprob, list(zip(ids, values, strict=True))[:count])
        for logprob, (ids, values), count in zip(own, tops, num_top, strict=True)
    ]
