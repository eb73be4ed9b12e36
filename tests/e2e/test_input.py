"""What a stranger may send, and what may lie in the models folder."""

import httpx
import pytest
from openai import NotFoundError

MODEL = "llama-plain-F32"
URL = "/v1/completions"
CHAT = "/v1/chat/completions"
HI = [{"role": "user", "content": "hi"}]


def prompt(**more: object) -> dict[str, object]:
    return {"model": MODEL, "prompt": "a", "max_tokens": 1, **more}


@pytest.mark.parametrize(
    ("path", "body", "status", "param", "code"),
    [
        (URL, {"model": "no/such", "prompt": "a"}, 404, "model", "model_not_found"),
        (URL, {"model": "../../etc/passwd", "prompt": "a"}, 404, "model", "model_not_found"),
        (URL, b"{", 400, None, None),
        (URL, b'{"model": "\xff"}', 400, None, None),
        (URL, b"[" * 5000, 400, None, None),
        (URL, b"[]", 400, None, None),
        (URL, b'{"model": "llama-plain-F32", "prompt": "a", "temperature": NaN}', 400, None, None),
        (URL, prompt(temperature=1e9), 400, "temperature", None),
        (URL, prompt(temperature="hot"), 400, "temperature", None),
        (URL, prompt(n=100000), 400, "n", None),
        (URL, prompt(logit_bias={"99999": 1}), 400, None, None),
        (URL, prompt(prompt=[99999]), 400, "prompt", None),
        (URL, prompt(prompt=[]), 400, "prompt", None),
        (URL, prompt(prompt=[5] * 5000), 400, "prompt", "context_length_exceeded"),
        (CHAT, {"model": MODEL, "messages": []}, 400, "messages", None),
        (CHAT, {"model": MODEL, "messages": [{"role": "x", "content": "a"}]}, 400, None, None),
        ("/v1/nothing", {}, 404, None, None),
    ],
)
def test_bad_input_gets_its_documented_answer(tiny, path, body, status, param, code):
    """Every bad request is refused in OpenAI's shape, and the next good one works."""
    sent = {"content": body} if isinstance(body, bytes) else {"json": body}
    response = httpx.post(f"{tiny.url}{path}", **sent)
    error = response.json()["error"]

    assert response.status_code == status, error
    assert set(error) == {"message", "type", "param", "code"}
    assert "x-request-id" in response.headers
    assert param is None or error["param"].startswith(param)
    assert code is None or error["code"] == code
    assert httpx.post(f"{tiny.url}{URL}", json=prompt()).status_code == 200


def test_a_wrong_method_is_named(tiny):
    """GET where POST is wanted is a 405 in OpenAI's shape."""
    response = httpx.get(f"{tiny.url}{URL}")

    assert response.status_code == 405
    assert response.json()["error"]["code"] == "method_not_supported"


def test_broken_files_are_reported_and_the_rest_is_served(tiny):
    """A broken file costs only itself, and asking for it says what is wrong."""
    listed = {model.id for model in tiny.sdk.models.list()}
    response = httpx.post(f"{tiny.url}{URL}", json={"model": "short", "prompt": "a"})

    assert listed == {MODEL, "gemma3-q-Q4_K_M", "tiny/gemma3-swa"}
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
