"""Models with states behind a real gateway: swapped, reused, and counted."""

import pytest

from gateway_process import Gateway
from recurrent_models import write_recurrent


def prompt(first: int) -> list[int]:
    """One that shares no beginning with others."""
    return [first] + [(7 * place * place + 3) % 200 for place in range(76)]


@pytest.fixture(scope="module")
def gateway(launch, tmp_path_factory) -> Gateway:
    """Mamba, and Falcon-H1 with attention besides; memory for one of them at a time."""
    folder = tmp_path_factory.mktemp("recurrent")
    write_recurrent(folder, context_length=256)
    return launch(folder, "--dtype", "float32", "--memory", "12MiB")


def complete(gateway: Gateway, model: str, token_ids: list[int]) -> tuple[str, int]:
    """What follows the prompt, and how much of it was not computed again."""
    reply = gateway.sdk.completions.create(
        model=model, prompt=token_ids, max_tokens=12, temperature=0, extra_body={"ignore_eos": True}
    )
    assert reply.usage is not None
    details = reply.usage.prompt_tokens_details
    return reply.choices[0].text, details.cached_tokens or 0 if details else 0


@pytest.mark.parametrize("model", ["mamba", "falcon"])
def test_a_prompt_that_is_sent_again_resumes_from_its_state(gateway, model):
    """The same text, and the whole blocks of the prompt are reported as cached."""
    first, computed = complete(gateway, model, prompt(1))
    again, cached = complete(gateway, model, prompt(1))

    assert again == first
    assert (computed, cached) == (0, 64)


def test_a_swap_keeps_the_states_and_changes_no_text(gateway):
    """What a model says does not depend on what was loaded before it; what it knew, it still knows."""
    before, _ = complete(gateway, "mamba", prompt(2))
    complete(gateway, "falcon", prompt(2))
    assert gateway.state("mamba") == "unloaded"

    text, num_cached = complete(gateway, "mamba", prompt(2))

    assert text == before
    assert num_cached > 0
