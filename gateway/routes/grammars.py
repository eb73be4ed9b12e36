"""Grammars are refused before a model is asked for."""

from engine.api import EngineError
from gateway.catalog.catalog import KnownModel
from gateway.errors import InvalidGrammar, InvalidSchema
from gateway.routes.services import Services
from gateway.translate.job import Job


async def check_grammar(services: Services, model: KnownModel, job: Job) -> None:
    """Raises `InvalidRequest` naming the field and the reason, for what no answer can follow."""
    grammar = job.generation.grammar
    if grammar is None:
        return
    try:
        await services.engine.check(model.text_source, grammar)
    except EngineError as error:
        if error.code != "bad_request" or error.param != "grammar":
            raise
        param = job.grammar_param or "grammar"
        refusal = InvalidSchema if grammar.kind == "json_schema" else InvalidGrammar
        raise refusal(f"{param}: {error.message}", param) from None
