"""Log-probabilities against log_softmax."""

import torch

from engine.sampling.logprobs import score


def test_scores_are_those_of_log_softmax():
    """The token's own, and the best in falling order, as many as each row asked for."""
    logits = torch.randn(3, 50, generator=torch.Generator().manual_seed(1))
    expected = torch.log_softmax(logits, -1)
    scores = score(logits, [4, 5, 6], [0, 2, 5])

    for row, (scored, token_id, count) in enumerate(zip(scores, [4, 5, 6], [0, 2, 5], strict=True)):
        best = expected[row].argsort(descending=True)[:count].tolist()
        assert scored.logprob == expected[row, token_id].item()
        assert [token for token, _ in scored.top] == best
        assert [value for _, value in scored.top] == expected[row, best].tolist()


def test_more_alternatives_than_tokens_gives_all():
    """A vocabulary of three has no twenty best."""
    assert len(score(torch.zeros(1, 3), [0], [20])[0].top) == 3


def test_no_rows_give_no_scores():
    """A chunk may score nothing."""
    assert score(torch.zeros(0, 3), [], []) == []
