"""The schemas that a request's tool calls will be held to, to be refused before a model is asked for."""

from collections.abc import Iterator

from engine.api import ChatPrompt, Grammar
from gateway.translate.formats import schema_grammar
from gateway.translate.job import Job


def tool_grammars(job: Job) -> Iterator[tuple[str, Grammar]]:
    """Names of tools whose arguments must follow their schemas, and these.

    Keywords that the engine does not know are passed over unless the tool is strict.
    """
    choice = job.generation.tools
    if choice is None:
        return
    offered = (prompt.tools or [] for prompt in job.prompts if isinstance(prompt, ChatPrompt))
    for function in (tool["function"] for tools in offered for tool in tools):
        is_strict = function.get("strict") is True
        name = function["name"]
        is_wanted = choice.mode == "required" and name in (choice.names or (name,))
        if (is_strict or is_wanted) and (schema := function.get("parameters")):
            options = {"lenient": not is_strict, "coerce_one_of": True}
            yield name, schema_grammar({**schema, "x-guidance": options}, strict=True)
