"""What a template shows of its model, unrendered."""

import pytest

from engine.checkpoint import open_checkpoint
from engine.text.capabilities import capabilities_of

CHATML = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m['content'] }}{% endfor %}"
TEMPLATES = {
    CHATML: ("system",),
    "{% if tools %}{{ tools | tojson }}{% endif %}" + CHATML: ("tools", "system"),
    "{%- if not tools is defined %}{%- set tools = none %}{%- endif %}{{ tools }}": ("tools",),
    "Use tools. {# tools #}{{ messages[0]['content'] }}": (),
    "{% set tools = [] %}{{ tools }}" + CHATML: ("system",),
    "{% for m in messages %}{{ m.content }}{% endfor %}<think></think>": ("reasoning",),
    "{{ '<|channel|>analysis<|message|>' }}{% if x == 'system' %}{% endif %}": (
        "reasoning",
        "system",
    ),
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}" + CHATML: (),
    "{% if tools %}": (),
}


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_shows_what_its_model_can(family_folder, template):
    """Variables that it reads count, not words that it writes; a broken one shows nothing."""
    with open_checkpoint(family_folder("llama-bf16") / "hf") as checkpoint:
        assert capabilities_of(checkpoint, template) == TEMPLATES[template]
