"""The list of families, for people and programs."""

from pathlib import Path

from engine.families import described, to_json, to_markdown
from engine.models import gemma2, registry

DOCS = Path(__file__).parents[2] / "docs/models.md"


def test_the_document_is_what_the_registry_says():
    """After a change of families, formats or limits: roundhouse families --markdown."""
    assert DOCS.read_text() == to_markdown()


def test_every_family_says_what_it_is():
    """In a sentence or two of its own, which are its module's."""
    known = to_json()["families"]
    descriptions = [family["description"] for family in known]

    assert len(known) == len(registry.families())
    assert all(20 < len(description) < 200 for description in descriptions)
    assert len(set(descriptions)) == len(descriptions)


def test_a_family_says_which_keys_it_honours():
    """Of those that others refuse."""
    assert "attn_logit_softcapping" in described(gemma2.FAMILY).honours
    assert "clip_qkv" not in described(gemma2.FAMILY).honours
