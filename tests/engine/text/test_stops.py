import pytest

from engine.text.stops import find_stop_ids, visible_texts

HARMONY = ["<|channel|>", "<|message|>", "<|end|>", "<|return|>", "<|call|>"]


def stop_texts(vocabulary, special, declared=()):
    ids = find_stop_ids(
        [vocabulary.index(text) for text in declared],
        lambda text: vocabulary.index(text) if text in vocabulary else None,
        set(special),
    )
    return {vocabulary[token_id] for token_id in ids}


@pytest.mark.parametrize("name", ["<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|endoftext|>"])
def test_tokens_called_like_an_end_are_one(name):
    """A checkpoint that declares one end and writes another stops at both."""
    assert stop_texts(["a", "</x>", name], [name], ["</x>"]) == {"</x>", name}


def test_nothing_is_declared_and_nothing_found():
    """A vocabulary without ends has none, and what is declared as missing is not one."""
    assert find_stop_ids([None], lambda _: None, set()) == frozenset()


def test_the_html_tag_of_gemma_ends_nothing():
    """`</s>` counts only as a control token: Gemma has it as an ordinary one."""
    assert stop_texts(["</s>", "<eos>"], ["<eos>"]) == {"<eos>"}
    assert stop_texts(["</s>", "<eos>"], ["</s>", "<eos>"]) == {"</s>", "<eos>"}


def test_harmony_messages_end_without_ending_the_turn():
    """With `<|return|>` and `<|call|>`, `<|end|>` is a part of the text that parsers read."""
    assert stop_texts(HARMONY, HARMONY, ["<|return|>"]) == {"<|return|>", "<|call|>"}
    assert "<|end|>" in visible_texts(set(HARMONY))


def test_an_end_alone_ends():
    """Phi's `<|end|>` is an end like any other."""
    assert stop_texts(["<|end|>"], ["<|end|>"]) == {"<|end|>"}
    assert "<|end|>" not in visible_texts({"<|end|>"})
