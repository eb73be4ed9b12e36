"""Holds a running gateway against its own OpenAPI document, with requests that schemathesis makes up.

    python tests/support/contract.py http://127.0.0.1:8080 --model a --embedder b --reranker c

Prints a line for each operation and ends with 1 if the document is not OpenAPI, or any answer was not
as documented: a status, a media type, a header or a body. A program of its own, since schemathesis would have pytest rewrite it.
"""

import argparse
import itertools
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, BaseSchema, Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
ENDLESS = {"/models/sse"}
REFUSED = {
    *("pull_model", "remove_model", "delete_model"),
    *("pull_ollama_model", "delete_ollama_model"),
}
"""Operations that need a hub, or would take the models away: nothing is allowed to them here."""
NUM_TOKENS = 4
STREAMED = 2
"""Of the requests that can be answered, the one whose reply is sure to be a stream."""
_LENGTHS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "n_predict")
_TOPICS = ("messages", "input", "prompt", "content", "tokens")
_SOUND = {
    "max_tokens": NUM_TOKENS,
    "messages": [{"role": "user", "content": "a"}],
    **dict.fromkeys(("input", "prompt", "content", "query", "input_prefix", "input_suffix"), "a"),
    "tokens": [5],
    "documents": ["a", "b"],
}
"""Values of fields that can be answered."""
_OPTIONS = settings(
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)

Known = dict[str, str]
"""A path's parameters by name, of what there is."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--model", required=True, help="what requests name")
    parser.add_argument("--embedder", required=True, help="what those for vectors name")
    parser.add_argument("--reranker", required=True, help="and those for scores")
    parser.add_argument("--examples", type=int, default=20, help="of each operation")
    parser.add_argument("--negative", type=int, default=0, help="bodies of each that are wrong")
    parser.add_argument("--unanswered", default="", help="the path that no model here can serve")
    parser.add_argument("--aliases", action="store_true", help="further paths of an operation too")
    options = parser.parse_args()
    schema = schemathesis.openapi.from_url(f"{options.url}/openapi.json")
    schema.validate()
    failed = [
        operation.label
        for operation in _operations(schema, aliases=options.aliases)
        if not _is_kept(operation, options)
    ]
    _say(f"{len(failed)} operations failed: {', '.join(failed)}")
    return 1 if failed else 0


def _operations(schema: BaseSchema, *, aliases: bool) -> Iterator[APIOperation]:
    for result in schema.get_all_operations():
        operation = result.ok()
        is_alias = "_at_" in operation.definition.raw["operationId"]
        if operation.path not in ENDLESS and (aliases or not is_alias):
            yield operation


def _is_kept(operation: APIOperation, options: argparse.Namespace) -> bool:
    seen: Counter[int] = Counter()
    try:
        _try_valid(
            operation, _known(operation, options), options.examples, seen, options.unanswered
        )
        if options.negative and operation.body:
            _try_invalid(operation, options.negative, seen)
    except (FailureGroup, Failure, Exception) as error:  # noqa: BLE001 - the next has its turn
        _say(f"FAILED {operation.label}: {error}")
        return False
    finally:
        _say(f"{operation.label} {dict(sorted(seen.items()))}")
    return True


def _known(operation: APIOperation, options: argparse.Namespace) -> Known:
    """The model that is right for the operation, and a response if it is about one."""
    model = options.model
    if "embed" in operation.path:
        model = options.embedder
    elif "rerank" in operation.path:
        model = options.reranker
    known = {"model_id": model}
    if "{response_id}" in operation.path:
        wish = {"model": model, "input": "a", "max_output_tokens": 4, "background": True}
        reply = httpx.post(f"{options.url}/v1/responses", json=wish, timeout=60, trust_env=False)
        known["response_id"] = reply.json()["id"]
    return known


def _try_valid(
    operation: APIOperation, known: Known, num: int, seen: Counter[int], unanswered: str
) -> None:
    """Requests that fit the schema, in turns with those that can also be answered."""
    turn = itertools.count()

    @settings(_OPTIONS, max_examples=num)
    @given(operation.as_strategy(), st.data())
    def attempt(case: Case, data: st.DataObject) -> None:
        number = next(turn)
        is_sound = number % 2 == 0
        if isinstance(case.body, dict):
            fields = _fields(operation)
            extra = data.draw(_some_of(case.body, set(fields["required"]))) if number else {}
            core = _sound(fields) if is_sound else {n: case.body[n] for n in fields["required"]}
            if number == STREAMED and "stream" in fields["properties"]:
                core["stream"] = True
            case.body = extra | core | _short(fields) | {"model": known["model_id"]}
        if is_sound:
            case.path_parameters = {name: known[name] for name in case.path_parameters or {}}
        _send(case, CHECKS, seen)

    attempt()
    can_answer = operation.definition.raw["operationId"] not in REFUSED
    if can_answer and not any(s < 300 for s in seen) and operation.path != unanswered:
        raise AssertionError("nothing was answered, so little was tried")


def _fields(operation: APIOperation) -> dict[str, Any]:
    body = operation.definition.raw["requestBody"]["content"]["application/json"]["schema"]
    schemas = operation.schema.raw_schema["components"]["schemas"]
    return schemas[body["$ref"].rpartition("/")[2]]


def _sound(fields: dict[str, Any]) -> dict[str, Any]:
    """A body that can be answered: what is required, or else the first thing to go by."""
    names = fields["properties"].keys()
    first = next((name for name in _TOPICS if name in names), None)
    wanted = {*fields["required"], first} - {"model", None}
    return {name: _SOUND[name] for name in wanted}


def _short(fields: dict[str, Any]) -> dict[str, Any]:
    """What keeps a reply short: a model of the tests would fill its whole window."""
    names = fields["properties"].keys()
    lengths = dict.fromkeys(names & set(_LENGTHS), NUM_TOKENS)
    return lengths | ({"options": {"num_predict": NUM_TOKENS}} if "options" in names else {})


@st.composite
def _some_of(draw: st.DrawFn, body: dict[str, Any], required: set[str]) -> dict[str, Any]:
    """A few optional fields: all of them at once would always hold two that exclude each other."""
    rest = sorted(set(body) - required)
    chosen = draw(st.sets(st.sampled_from(rest), max_size=3)) if rest else set()
    return {name: body[name] for name in chosen}


def _try_invalid(operation: APIOperation, num: int, seen: Counter[int]) -> None:
    """Requests that do not fit it: they are refused, as documented."""

    @settings(_OPTIONS, max_examples=num)
    @given(operation.as_strategy(GenerationMode.NEGATIVE))
    def attempt(case: Case) -> None:
        _send(case, [*CHECKS, negative_data_rejection], seen)

    try:
        attempt()
    except Unsatisfiable:  # nothing is wrong for it
        return


def _send(case: Case, checks: list[Any], seen: Counter[int]) -> None:
    response = case.call()
    seen[response.status_code] += 1
    case.validate_response(response, checks=checks)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
