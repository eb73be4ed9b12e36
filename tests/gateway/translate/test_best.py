from engine.api import Delta, TokenLogprob
from gateway.translate.best import Best


def delta(index: int, *logprobs: float | None, num_generated: int | None = None) -> Delta:
    tokens = [TokenLogprob(0, "a", b"a", logprob, []) for logprob in logprobs]
    return Delta(index, token_ids=[0] * (num_generated or len(tokens)), logprobs=tokens)


def test_the_likeliest_on_average_are_kept_of_each_prompt():
    """The longest is not the worst for being long, and prompts keep their order."""
    best = Best()
    for each in (delta(0, -3.0), delta(1, -1.0), delta(1, -2.0), delta(2, -2.0), delta(3, -9.0),
                 delta(4, -8.0), delta(5, -7.0)):  # fmt: skip
        best.note(each)

    assert best.kept(num_prompts=2, num_made=3, num_kept=2) == [1, 2, 5, 4]


def test_an_echoed_prompt_does_not_count():
    """Its tokens are the same for all, and their texts are not of one length."""
    best = Best()
    best.note(delta(0, None, -100.0, -1.0, num_generated=1))
    best.note(delta(1, -2.0))

    assert best.kept(1, 2, 1) == [0]
