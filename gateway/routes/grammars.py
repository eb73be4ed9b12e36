"""Grammars are refused before a model is asked for."""

from engine.api import EngineError, Grammar
from gateway.catalog.models import KnownModel
from gateway.errors import InvalidGrammar, InvalidSchema
from gateway.routes.services import Services
from gateway.translate.job import Job
from gateway.translate.tool_grammars import tool_grammars


async def check_grammar(services: Services, model: KnownModel, job: Job) -> None:
    """Raises `InvalidRequest` naming the field and the reason, for what no answer can follow."""
    grammar = job.generation.grammar
    if grammar is not None:
        await _check(services, model, grammar, job.grammar_param or "grammar")
    for name, grammar in tool_grammars(job):
        await _check(services, model, grammar, "tools", f"the parameters of {name!r}: ")


async def _check(
    services: Services, model: KnownModel, grammar: Grammar, param: str, what: str = ""
) -> None:
    try:
        await services.engine.check(model.text_source, grammar)
    except EngineError as error:
        if error.code != "bad_request" or error.param != "grammar":
            raise
        refusal = InvalidSchema if grammar.kind == "json_schema" else InvalidGrammar
        raise refusal(f"{param}: {what}{error.message}", param) from None
