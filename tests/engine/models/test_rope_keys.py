import pytest

from engine.models.rope_keys import gguf_rope, hf_rope

ONE = {"full_attention": 1e4}
TWO = {"full_attention": 1e6, "sliding_attention": 1e4}
PLAIN = {"rope_type": "default", "rope_theta": 1e4}


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"rope_theta": 1e4},
        {"rope_theta": 1e4, "rope_scaling": None},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}},
        {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1e4}}},
        {"rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 1.0}},
    ],
)
def test_every_form_of_a_plain_rope_reads_the_same(raw):
    """Keys of any age, and none at all."""
    assert hf_rope(raw, ONE) == {"full_attention": PLAIN}


def test_without_a_default_there_may_be_no_rope():
    """A family's layers turn nothing where neither it nor the file has a base."""
    none = {"full_attention": None}
    given = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}

    assert hf_rope({}, none) == hf_rope({"rope_parameters": {"rope_theta": None}}, none) == {}
    assert hf_rope(given, none) == hf_rope({"rope_theta": 1e4}, none) == {"full_attention": PLAIN}


def test_scaling_may_say_type_or_rope_type():
    """The older word and the newer one."""
    for word in ("type", "rope_type"):
        raw = {"rope_theta": 1e4, "rope_scaling": {word: "linear", "factor": 2.0}}
        expected = PLAIN | {"rope_type": "linear", "factor": 2.0}

        assert hf_rope(raw, ONE) == {"full_attention": expected}


@pytest.mark.parametrize(
    "raw",
    [
        {"partial_rotary_factor": 0.25},
        {"rotary_pct": 0.25},
        {"rotary_dim": 16, "head_dim": 64},
        {"rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.25}},
    ],
)
def test_a_rope_of_a_part_of_each_head_has_many_words(raw):
    """A fraction, or a count beside head_dim; beside the rope's own keys or among them."""
    assert hf_rope(raw, ONE) == {"full_attention": PLAIN | {"partial_rotary_factor": 0.25}}


def test_sections_of_images_are_left_out():
    """The three positions of a text's token are one, however a rope shares them out."""
    rope = {"rope_theta": 1e4, "mrope_section": [11, 11, 10], "mrope_interleaved": True}

    assert hf_rope({"rope_parameters": rope}, ONE) == {"full_attention": PLAIN}


def test_gguf_counts_what_is_turned_of_a_head():
    """rope.dimension_count, of key_length or of what follows from the sizes."""
    part = PLAIN | {"partial_rotary_factor": 0.25}
    sizes = {"embedding_length": 256, "attention.head_count": 4}

    for head in ({"attention.key_length": 64}, sizes):
        assert gguf_rope({"rope.dimension_count": 16} | head, ONE) == {"full_attention": part}
        assert gguf_rope({"rope.dimension_count": 64} | head, ONE) == {"full_attention": PLAIN}


def test_sliding_layers_have_a_base_of_their_own_and_no_scaling():
    """Gemma 3's old keys: scaling is of the full layers."""
    raw = {
        "rope_theta": 5e5,
        "rope_local_base_freq": 2e4,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
    }

    assert hf_rope(raw, TWO) == {
        "full_attention": {"rope_type": "linear", "rope_theta": 5e5, "factor": 8.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 2e4},
    }


def test_gguf_says_the_same_with_other_keys():
    """Bases and scaling of both kinds of layers."""
    values = {
        "rope.freq_base": 5e5,
        "rope.freq_base_swa": 2e4,
        "rope.scaling.type": "linear",
        "rope.scaling.factor": 8.0,
    }

    assert gguf_rope(values, TWO) == {
        "full_attention": {"rope_type": "linear", "rope_theta": 5e5, "factor": 8.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 2e4},
    }


def test_gguf_defaults():
    """No keys, the type "none", and the scale of very old files."""
    linear = PLAIN | {"rope_type": "linear", "factor": 4.0}

    assert gguf_rope({}, ONE) == {"full_attention": PLAIN}
    assert gguf_rope({"rope.scaling.type": "none"}, ONE) == {"full_attention": PLAIN}
    assert gguf_rope({"rope.scale_linear": 4.0}, ONE) == {"full_attention": linear}
