"""Keys and values in q8_0 and fp8, in every kind of attention that families have."""

import pytest
import torch

from engine.cache.spec import Both, Latent, State, stored
from engine.checkpoint import open_checkpoint
from engine.kernels.cpu.library import is_available
from engine.models.card import describe
from tests.engine.batches import Sequences, logprobs_of
from tests.engine.fixture_models import Variant
from tests.engine.models.test_families import VARIANTS
from tests.engine.programmed import Programmed

KINDS = ("gemma4-shared-kv", "gemma3n-altup", "phi4-mini", "olmo3-yarn", "hunyuan-dense")
CHOSEN = [v for v in VARIANTS if v.model in KINDS and not v.is_quantised]
"""Without experts: a key that is a little off may choose another one, and no tolerance holds."""

PACKED = 0.35
"""On log-probs of random weights, which are more easily moved than a trained model's; 0.24 was seen."""

SAME = 0.06
"""A row that decodes meets keys in other roundings than one that is in a prompt."""


@pytest.mark.skipif(not is_available(), reason="the native library is not built")
@pytest.mark.parametrize("variant", CHOSEN, ids=str)
def test_logits_stay_near(variant: Variant):
    """Natively, in a prompt and token by token; and something was packed."""
    model = Programmed(variant.path, "dense", torch.float32)

    for prompt in variant.prompts:
        exact = logprobs_of(model, prompt).clone()
        found = logprobs_of(model, prompt, kv_dtype="q8_0").clone()
        sequences = Sequences(model, 1, len(prompt), kv_dtype="q8_0")
        steps = torch.cat([sequences.step({0: [token]})[0] for token in prompt])

        assert 0 < (found - exact).abs().max() <= PACKED
        assert (steps - found).abs().max() <= SAME


FP8_SAME = 0.01
"""A key is rounded the other way now and then, as a prompt's is not to the last bit a decode's."""

FP8 = 0.25
"""On average: three bits behind the first are kept of each value. 0.14 was seen."""


@pytest.mark.parametrize("variant", CHOSEN, ids=str)
def test_logits_stay_near_in_fp8(variant: Variant, load_model):
    """By the reference kernels, in a prompt and token by token."""
    model = load_model(variant.path, "dense", torch.float32)

    for prompt in variant.prompts:
        exact = logprobs_of(model, prompt)
        found = logprobs_of(model, prompt, kv_dtype="fp8")
        sequences = Sequences(model, 1, len(prompt), kv_dtype="fp8")
        steps = torch.cat([sequences.step({0: [token]})[0] for token in prompt])

        assert 0 < (found - exact).abs().mean() <= FP8
        assert (steps - found).abs().mean() <= FP8_SAME


def test_the_card_counts_what_is_kept():
    """34 bytes or 32 for 32 values, where they are float32 or bfloat16 otherwise."""
    variant = next(v for v in CHOSEN if v.model == "phi4-mini")
    with open_checkpoint(variant.path) as checkpoint:
        cards = {
            kind: describe(checkpoint, torch.bfloat16, native=False, kv_dtype=kind)
            for kind in ("auto", "q8_0", "fp8")
        }
    plain, packed, fp8 = (card.footprints[0].kv_bytes_per_token for card in cards.values())

    assert plain / 2 < packed <= plain / 2 * 1.2
    assert fp8 == plain / 2


def test_latents_and_states_stay_as_they_are():
    """They are small already, and rounding adds up in states."""
    state = State({"ssm": (4, 4)})
    for spec in (Latent(8), state, Both(Latent(8), state)):
        assert stored(spec, "q8_0") == stored(spec, "fp8") == spec
