from typing import get_args

import msgspec
import pytest
from litestar.exceptions import HTTPException, NotFoundException

from engine.api import EngineError, ErrorCode
from gateway import errors
from gateway.errors import Problem, is_foreseen, problem_of
from gateway.openai.chat import ChatRequest
from gateway.openai.errors import ErrorBody


@pytest.mark.parametrize("code", get_args(ErrorCode))
def test_every_code_of_the_engine_has_a_meaning(code):
    """A code that is added to the engine must be added here."""
    problem = problem_of(EngineError(code, "why"))

    assert 400 <= problem.status < 600
    assert problem.body.message == "why"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"model": 1}', "model"),
        (b'{"model": "m", "messages": [{"role": "x"}]}', "messages[0].role"),
        (b'{"model": "m", "messages": [], "logit_bias": {"x": 1}}', "messages"),
        (b'{"model": "m"}', None),
        (b"[]", None),
    ],
)
def test_the_param_is_the_path_of_the_field(body, param):
    """In the words of the request, not of our decoder."""
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(body, type=ChatRequest)

    problem = problem_of(caught.value)
    assert (problem.status, problem.body.param) == (400, param)
    assert "$" not in problem.body.message


def test_hints_to_retry():
    """What will not heal says so; what will says when, within what SDKs accept."""
    full = problem_of(errors.QueueFull("full", retry_after_seconds=500))
    broken = problem_of(errors.ModelLoadFailed("broken"))

    assert (full.status, full.headers) == (429, {"retry-after": "120"})
    assert (broken.status, broken.headers) == (503, {"x-should-retry": "false"})


def test_what_nobody_foresaw_says_nothing():
    """A bug's words are for the log."""
    problem = problem_of(KeyError("secret"))

    assert (problem.status, problem.body.type) == (500, "server_error")
    assert "secret" not in problem.body.message
    assert not is_foreseen(KeyError("secret"))
    assert is_foreseen(NotFoundException())


@pytest.mark.parametrize(
    ("status", "code"),
    [(404, "not_found"), (405, "method_not_supported"), (413, "request_too_large"), (400, None)],
)
def test_the_frameworks_errors_are_translated(status, code):
    """Its own bodies never show."""
    problem = problem_of(HTTPException("detail", status_code=status))

    assert (problem.status, problem.body.code) == (status, code)
    assert problem.body.type == "invalid_request_error"


def test_the_envelope_has_all_four_keys():
    """SDKs read them by name, null or not."""
    problem = Problem(400, ErrorBody("m", "t"))

    assert msgspec.to_builtins(problem.reply) == {
        "error": {"message": "m", "type": "t", "param": None, "code": None}
    }


def test_a_long_name_is_not_repeated_in_full():
    """Nor is it logged at full length."""
    assert len(errors.ModelNotFound("x" * 10_000).message) < 300
