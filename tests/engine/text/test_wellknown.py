from typing import Any

import pytest

from engine.api import ChatPrompt
from engine.checkpoint import GGUFCheckpoint, open_checkpoint
from engine.text.template import Renderer, find_templates, has_chat_template

GEMMA = ["<start_of_turn>", "<end_of_turn>"]
CHATML = ["<|im_start|>", "<|im_end|>"]
LLAMA3 = ["<|start_header_id|>", "<|end_header_id|>"]
MESSAGES = [{"role": "user", "content": " hi "}, {"role": "assistant", "content": "yes"}]


@pytest.fixture
def checkpoint(family_folder):
    """Makes a GGUF checkpoint that says what is asked of it, with no template of its own."""

    def make(**facts: Any) -> GGUFCheckpoint:
        opened = open_checkpoint(family_folder("llama-plain") / "llama-plain-F32.gguf")
        assert isinstance(opened, GGUFCheckpoint)
        opened.metadata = {
            "general.architecture": facts.get("architecture", "llama"),
            "tokenizer.ggml.tokens": facts.get("tokens", CHATML),
        }
        if "finetune" in facts:
            opened.metadata["general.finetune"] = facts["finetune"]
        return opened

    return make


@pytest.mark.parametrize(
    ("facts", "marker"),
    [
        ({"architecture": "gemma3", "tokens": GEMMA, "finetune": "it"}, "<start_of_turn>"),
        ({"architecture": "gemma2", "tokens": GEMMA, "finetune": "2b-it"}, "<start_of_turn>"),
        ({"architecture": "llama", "tokens": LLAMA3, "finetune": "Instruct"}, "<|eot_id|>"),
        ({"architecture": "qwen3", "tokens": CHATML, "finetune": "Chat"}, "<|im_start|>"),
    ],
)
def test_a_tuned_model_gets_its_familys_template(checkpoint, facts, marker):
    """Tuned by its metadata, of a known architecture, with the template's own markers."""
    assert marker in find_templates(checkpoint(**facts))["default"]


@pytest.mark.parametrize(
    "facts",
    [
        {"architecture": "gemma3", "tokens": GEMMA},
        {"architecture": "gemma3", "tokens": GEMMA, "finetune": "8k-lc100k-mix1-ep2"},
        {"architecture": "gemma3", "tokens": GEMMA, "finetune": "iterated"},
        {"architecture": "gemma3", "tokens": ["<start_of_turn>"], "finetune": "it"},
        {"architecture": "mamba", "tokens": CHATML, "finetune": "instruct"},
        {"architecture": "llama", "tokens": ["[INST]"], "finetune": "instruct"},
    ],
)
def test_whatever_is_in_doubt_gets_none(checkpoint, facts):
    """A base model answers nobody, and wrong markers would make nonsense."""
    assert not has_chat_template(checkpoint(**facts))


GEMMA_TEXT = """<s><start_of_turn>user
hi<end_of_turn>
<start_of_turn>model
yes<end_of_turn>
<start_of_turn>model
"""
CHATML_TEXT = """<|im_start|>user
 hi <|im_end|>
<|im_start|>assistant
yes<|im_end|>
<|im_start|>assistant
"""
LLAMA3_TEXT = """<s><|start_header_id|>user<|end_header_id|>

hi<|eot_id|><|start_header_id|>assistant<|end_header_id|>

yes<|eot_id|><|start_header_id|>assistant<|end_header_id|>

"""


@pytest.mark.parametrize(
    ("architecture", "tokens", "expected"),
    [
        ("gemma3", GEMMA, GEMMA_TEXT),
        ("qwen2", CHATML, CHATML_TEXT),
        ("llama", LLAMA3, LLAMA3_TEXT),
    ],
)
async def test_well_known_templates_write_the_published_form(
    checkpoint, architecture, tokens, expected
):
    """Letter for letter what the families' own templates write."""
    tuned = checkpoint(architecture=architecture, tokens=tokens, finetune="instruct")
    renderer = Renderer()
    try:
        text = await renderer.render(
            find_templates(tuned), ChatPrompt(MESSAGES), bos_token="<s>", eos_token="</s>"
        )
    finally:
        renderer.close()

    assert text == expected


async def test_a_name_in_place_of_a_template_stands_for_it(checkpoint):
    """As llama.cpp's converter leaves RWKV's, which its vocabulary file does not come with."""
    named = checkpoint(architecture="rwkv7")
    named.metadata["tokenizer.chat_template"] = "rwkv-world"
    renderer = Renderer()
    try:
        text = await renderer.render(
            find_templates(named), ChatPrompt(MESSAGES), bos_token="<s>", eos_token="<s>"
        )
    finally:
        renderer.close()

    assert text == "User: hi\n\nAssistant: yes\n\nAssistant:"
