"""Templates for checkpoints that were tuned to chat and lost theirs on the way.

A template is used only where the metadata says that the model was tuned, its architecture is one
that the template was made for, and its vocabulary has the tokens that mark the turns: a base model
answers nobody, and one wrong marker makes nonsense of a conversation.
"""

import re
from dataclasses import dataclass

from engine.checkpoint import GGUFCheckpoint, SafetensorsCheckpoint

_TUNED = re.compile(
    r"(^|[^a-z])(it|instruct(ion)?|chat|assistant|sft|dpo)($|[^a-z])", re.IGNORECASE
)

_GEMMA = """{{ bos_token }}\
{% if messages[0].role == 'system' %}{{ raise_exception('system role not supported') }}{% endif %}\
{% for message in messages %}\
<start_of_turn>{{ 'model' if message.role == 'assistant' else message.role }}
{{ message.content | trim }}<end_of_turn>
{% endfor %}\
{% if add_generation_prompt %}<start_of_turn>model
{% endif %}"""

_CHATML = """{% for message in messages %}\
<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endfor %}\
{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

_LLAMA3 = """{{ bos_token }}{% for message in messages %}\
<|start_header_id|>{{ message.role }}<|end_header_id|>

{{ message.content | trim }}<|eot_id|>{% endfor %}\
{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>

{% endif %}"""


_RWKV_WORLD = """{% for message in messages %}\
{{ message.role | capitalize }}: {{ message.content | trim }}

{% endfor %}\
{% if add_generation_prompt %}Assistant:{% endif %}"""

NAMED = {"rwkv-world": _RWKV_WORLD}
"""What llama.cpp's converter writes into a GGUF file in place of a template, by its name there."""


@dataclass(frozen=True, slots=True)
class _WellKnown:
    architectures: re.Pattern[str]
    markers: frozenset[str]
    template: str


_KNOWN = (
    _WellKnown(
        re.compile(r"gemma[23]?(n|_text)?"), frozenset({"<start_of_turn>", "<end_of_turn>"}), _GEMMA
    ),
    _WellKnown(
        re.compile("llama"), frozenset({"<|start_header_id|>", "<|end_header_id|>"}), _LLAMA3
    ),
    _WellKnown(
        re.compile(r"llama|qwen[23].*|smollm3|stablelm"),
        frozenset({"<|im_start|>", "<|im_end|>"}),
        _CHATML,
    ),
)


def well_known_template(checkpoint: GGUFCheckpoint | SafetensorsCheckpoint) -> str | None:
    """The family's template, or None where the checkpoint does not call for one."""
    if not isinstance(checkpoint, GGUFCheckpoint):
        return None  # a folder has no field that says what it was tuned for
    metadata = checkpoint.metadata
    if not _TUNED.search(str(metadata.get("general.finetune", ""))):
        return None
    architecture = str(metadata.get("general.architecture", ""))
    fitting = [known for known in _KNOWN if known.architectures.fullmatch(architecture)]
    if not fitting:
        return None
    texts = metadata.get("tokenizer.ggml.tokens")
    vocabulary = frozenset(texts) if isinstance(texts, list) else frozenset()
    return next((known.template for known in fitting if known.markers <= vocabulary), None)
