"""What a model can be asked for, by its checkpoint's template and tokens. Nothing is rendered."""

import re

from jinja2 import TemplateError

from engine.api import Capability
from engine.text.chat_format import thinks
from engine.text.fill import can_fill
from engine.text.render import variables_of
from engine.text.template import MAX_TEMPLATE_BYTES, AnyCheckpoint, find_templates

_REFUSES_SYSTEM = re.compile(r"system[^'\"]{0,40}\bnot\b[^'\"]{0,20}\bsupport", re.IGNORECASE)
_WRITES_ROLE = re.compile(r"\{\{[^{}]*(\.role\b|\[['\"]role['\"]\])")


def capabilities_of(
    checkpoint: AnyCheckpoint, chat_template: str | None = None
) -> tuple[Capability, ...]:
    """chat_template: the operator's, instead of the checkpoint's."""
    templates = find_templates(checkpoint, chat_template)
    found: list[Capability] = []
    if any(_reads_tools(template) for template in templates.values()):
        found.append("tools")
    if any(map(thinks, templates.values())):
        found.append("reasoning")
    if templates and _takes_system(templates["default"]):
        found.append("system")
    if can_fill(checkpoint):
        found.append("fill")
    return tuple(found)


def _reads_tools(template: str) -> bool:
    if "tools" not in template or len(template) > MAX_TEMPLATE_BYTES:
        return False
    try:
        return "tools" in variables_of(template)
    except (TemplateError, RecursionError):
        return False  # it will not render either


def _takes_system(template: str) -> bool:
    """Whether it knows the role, or writes whatever role there is; some know it to refuse it."""
    if _REFUSES_SYSTEM.search(template):
        return False
    return "system" in template or _WRITES_ROLE.search(template) is not None
