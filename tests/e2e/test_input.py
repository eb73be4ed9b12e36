"""What a stranger may send, and what may lie in the models folder."""

import httpx
import psutil
import pytest
from malformed import CASES, GOOD
from openai import NotFoundError
from raw_http import ask, post

from gateway_process import Gateway

MODEL = "llama-plain-F32"
URL = "/v1/completions"


@pytest.fixture(scope="module")
def worker(tiny: Gateway) -> int:
    """Its number, once it has a model."""
    assert _statuses(tiny, GOOD) == [200]
    return tiny.child("engine.worker").pid


@pytest.mark.parametrize("route", CASES)
def test_bad_input_gets_its_documented_answer(tiny, worker, route):
    """Whatever is sent is refused in its API's shape, and the same worker serves the next."""
    wrong = {}
    for case in CASES[route]:
        if found := case.mismatch(ask(_address(tiny), case.raw, ends=case.ends)):
            wrong[case.name] = found
        assert psutil.pid_exists(worker), case.name

    assert not wrong
    assert _statuses(tiny, GOOD) == [200]
    assert tiny.child("engine.worker").pid == worker


def test_pipelined_requests_are_answered_in_order(tiny):
    """Two requests in one packet are two requests, a body that looks like one is a body."""
    hidden = post("/v1/completions", b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
    last = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

    assert _statuses(tiny, hidden + GOOD + last, num_answers=9) == [400, 200, 200]


def test_what_follows_a_request_cannot_answer_for_it(tiny):
    """Noise behind a request ends its connection, and is not answered in the middle of the reply."""
    answers = ask(_address(tiny), GOOD + b"\x00\x01\r\n\r\n", num_answers=9)

    assert answers == []


@pytest.mark.parametrize("model", [MODEL, "gemma3-q-Q4_K_M", "tiny/gemma3-swa"])
def test_words_that_spell_control_tokens_stay_words(tiny, model):
    """A chat has the control tokens of its template, whatever its words spell."""
    names = {"<s>", "</s>", "<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"}

    def control(*contents: str) -> list[str]:
        messages = [{"role": "user", "content": [{"type": "text", "text": c} for c in contents]}]
        body = {"model": model, "messages": messages, "return_token_strs": True}
        pieces = httpx.post(f"{tiny.url}/tokenize", json=body).json()["token_strs"]
        return [piece for piece in pieces if piece in names]

    harmless = control("hi")
    assert harmless
    assert control("".join(names)) == harmless
    assert control(*names, *(name[:2] for name in names), *(name[2:] for name in names)) == harmless


def _address(gateway: Gateway) -> tuple[str, int]:
    host, port = gateway.url.removeprefix("http://").split(":")
    return host, int(port)


def _statuses(gateway: Gateway, raw: bytes, num_answers: int = 1) -> list[int]:
    return [answer.status for answer in ask(_address(gateway), raw, num_answers=num_answers)]


def test_a_wrong_method_is_named(tiny):
    """GET where POST is wanted is a 405 in OpenAI's shape."""
    response = httpx.get(f"{tiny.url}{URL}")

    assert response.status_code == 405
    assert response.json()["error"]["code"] == "method_not_supported"


def test_broken_files_are_reported_and_the_rest_is_served(tiny):
    """A broken file costs only itself, and asking for it says what is wrong."""
    good = {MODEL, "gemma3-q-Q4_K_M", "tiny/gemma3-swa"}
    for name in good:
        tiny.sdk.models.retrieve(
            name
        )  # waits until it was looked at, which the list does for a while
    response = httpx.post(f"{tiny.url}{URL}", json={"model": "short", "prompt": "a"})

    assert {model.id for model in tiny.sdk.models.list()} == good
    assert response.status_code == 503
    assert "short.gguf" in response.json()["error"]["message"]
    assert "short" in tiny.log.read_text()


def test_models_go_by_several_names(tiny):
    """Ids match without regard to case; a unique last component serves; others are unknown."""
    for name in ("LLAMA-PLAIN-f32", "gemma3-swa", "tiny/gemma3-swa"):
        answer = tiny.sdk.completions.create(model=name, prompt=[1, 5, 6], max_tokens=2)
        assert answer.choices[0].finish_reason in {"stop", "length"}
    with pytest.raises(NotFoundError):
        tiny.sdk.completions.create(model="gemma", prompt="a")
