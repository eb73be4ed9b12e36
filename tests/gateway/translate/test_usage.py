from engine.api import Usage
from gateway.translate.usage import total_usage


def test_a_prompt_counts_once_however_many_choices_continue_it():
    """Two prompts with two choices each."""
    by_choice = {0: Usage(10, 1, 8), 1: Usage(10, 2, 8), 2: Usage(20, 3), 3: Usage(20, 4)}

    usage = total_usage(by_choice, n=2)

    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (30, 10, 40)
    assert usage.prompt_tokens_details.cached_tokens == 8


def test_nothing_known_is_nothing_counted():
    """Before the last deltas."""
    assert total_usage({}, n=1).total_tokens == 0
