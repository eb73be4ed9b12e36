"""Tokenizers from GGUF metadata against the same model's `tokenizer.json`, where it is hard."""

import unicodedata
from itertools import compress
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.checkpoint import open_checkpoint
from engine.text.pipeline import PipelineTokenizer
from engine.text.tokenizer import Specials, Tokenizer
from tests.engine.text.conftest import FAMILIES, find_family
from tests.engine.text.hard_corpus import hard_corpus

LEFT_OUT = (
    "rwkv",  # a tokenizer of another kind
    "deepseek2-",  # their tokenizer.json has simpler patterns than what "deepseek-llm" stands for
)
NO_SPECIALS = (
    "gemma4-",  # the GGUF has their turn marks as ordinary tokens
    "phi3-",  # white space after a mark is dropped, as Phi-3's own tokenizer.json has it
)
# Their published tokenizers compose characters first, as the GGUF's pre-tokenizer name implies; the
# tokenizer.json of the tiny models was made without.
COMPOSED = ("qwen", "olmo1-", "olmoe-", "mamba-", "mamba2-")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)


def files_of(family: str) -> tuple[Path, Path]:
    """The GGUF file and the `tokenizer.json`."""
    folder = find_family(family)
    return next(iter(sorted(folder.glob("*.gguf")))), folder / "hf/tokenizer.json"


def has_both(family: str) -> bool:
    folder = find_family(family)
    return any(folder.glob("*.gguf")) and (folder / "hf/tokenizer.json").exists()


BOTH = [name for name in FAMILIES if not name.startswith(LEFT_OUT) and has_both(name)]


def distinct(families: list[str]) -> list[str]:
    """One of those whose files are the same."""
    found: dict[str, str] = {}
    for family in families:
        path, text = files_of(family)
        with open_checkpoint(path) as checkpoint:
            keys = [key for key in checkpoint.metadata if key.startswith("tokenizer.ggml.")]
            tables = [(key, checkpoint.metadata[key]) for key in sorted(keys)]
        found.setdefault(f"{tables}{text.read_text()}", family)
    return list(found.values())


every_family = pytest.mark.parametrize("family", BOTH)
every_tokenizer = pytest.mark.parametrize("family", distinct(BOTH))


@pytest.fixture
def both(family, fixture_tokenizer) -> tuple[Tokenizer, Tokenizer]:
    _, path = files_of(family)
    from_json = PipelineTokenizer(tokenizers.Tokenizer.from_file(str(path)), Specials())
    return fixture_tokenizer(family, "gguf"), from_json


def expected_ids(family: str, from_json: Tokenizer, text: str, *, special: bool) -> list[int]:
    if family.startswith(COMPOSED):
        text = unicodedata.normalize("NFC", text)
    return from_json.encode(text, add_bos=False, allow_special=special)


def control_tokens(tokenizer: Tokenizer) -> tuple[str, ...]:
    ids = range(tokenizer.vocab_size)
    return tuple(compress(map(tokenizer.token_text, ids), map(tokenizer.is_control, ids)))


@every_tokenizer
@pytest.mark.parametrize("allow_special", [False, True])
def test_a_gguf_gives_the_ids_of_tokenizer_json(family, both, allow_special):
    """On every text of the hard corpus, whether control tokens are parsed or stay text."""
    from_metadata, from_json = both
    specials = () if family.startswith(NO_SPECIALS) else control_tokens(from_json)
    different = [
        text
        for text in hard_corpus(specials)
        if from_metadata.encode(text, add_bos=False, allow_special=allow_special)
        != expected_ids(family, from_json, text, special=allow_special)
    ]

    assert different == []


@every_tokenizer
def test_any_text_has_the_same_ids(family, both):
    """Whatever Hypothesis can think of."""
    from_metadata, from_json = both

    @settings(max_examples=40)
    @given(TEXTS)
    def check(text: str) -> None:
        ids = from_metadata.encode(text, add_bos=False, allow_special=True)
        assert ids == expected_ids(family, from_json, text, special=True)

    check()


@every_family
def test_a_whole_text_is_put_in_the_same_frame(family, fixture_tokenizer):
    """BOS and EOS where the folder has them."""
    from_metadata, folder = (fixture_tokenizer(family, form) for form in ("gguf", "hf"))

    ids = from_metadata.encode("x", add_bos=True, allow_special=False)
    assert ids == folder.encode("x", add_bos=True, allow_special=False)
