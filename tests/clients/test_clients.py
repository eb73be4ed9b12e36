"""What every client must get: each example in examples/ runs once, and says what it got."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

CLIENTS = {
    "use_openai.py": "openai",
    "use_responses.py": "openai",
    "use_agents.py": "agents",
    "use_anthropic.py": "anthropic",
    "use_ollama.py": "ollama",
    "use_langchain.py": "langchain",
    "use_llama_index.py": "llama_index",
    "use_instructor.py": "instructor",
    "use_pydantic_ai.py": "pydantic_ai",
    "use_litellm.py": "litellm",
    "use_llm.py": "llm",
    "use_openai.mjs": "node",
    "use_ai.mjs": "node",
    "use_anthropic.mjs": "node",
    "use_ollama.mjs": "node",
}
SAID = "The capital of France is Paris."
EACH = pytest.mark.parametrize(("script", "environment"), CLIENTS.items(), ids=CLIENTS)
# instructor and `llm` leave streams to their users, the Agents SDK to its runner
CANCELS = [
    name
    for name in CLIENTS
    if name.split(".")[0] not in {"use_agents", "use_instructor", "use_llm"}
]
SWAPS = [name for name in CLIENTS if name not in {"use_agents.py", "use_instructor.py"}]
EMBEDS = ["use_openai.py", "use_ollama.py", "use_langchain.py", "use_litellm.py"]
EMBEDS += ["use_openai.mjs", "use_ai.mjs", "use_ollama.mjs"]
CLASSES = {
    "use_ai.mjs": ("APICallError 404", "APICallError 400"),
    "use_ollama.py": ("ResponseError 404", "ResponseError 400"),
    "use_ollama.mjs": ("ResponseError 404", "ResponseError 400"),
    "use_langchain.py": ("OpenAIModelNotFoundError", "OpenAIInvalidRequestError"),
    "use_pydantic_ai.py": ("ModelNotFoundError 404", ""),
    "use_llm.py": (
        "Error: Error code: 404 - The model 'nobody' does not exist: see /v1/models.\n",
        "",
    ),
}


def found(printed: Any, key: str) -> Iterator[Any]:
    """Every value of a key, at any depth: a client that speaks several APIs has several."""
    for name, value in printed.items():
        if name == key:
            yield value
        elif isinstance(value, dict):
            yield from found(value, key)


@EACH
def test_chats_are_the_same_whole_and_in_pieces(answers, script, environment):
    """Several pieces, one text, whichever API the client speaks and whether it is async."""
    printed = answers(script, environment).printed

    assert {*found(printed, "chat"), *found(printed, "stream_helper")} <= {SAID}
    assert all("".join(pieces) == SAID for pieces in found(printed, "stream"))
    assert all(len(pieces) > 5 for pieces in found(printed, "stream"))
    assert all(text == SAID for text in found(printed, "async") if isinstance(text, str))
    assert all(text == SAID for text in found(printed, "after_cancel"))
    assert list(found(printed, "chat")) or script == "use_instructor.py"


@EACH
def test_calls_and_objects_follow_their_schema(answers, script, environment):
    """A model of 135 M parameters passes only because it cannot say anything else."""
    printed = answers(script, environment).printed
    objects = [*found(printed, "object"), *(call["arguments"] for call in found(printed, "tool"))]

    assert objects
    for value in objects:
        assert set(value) == {"city", "is_large"}
        assert value["city"] in {"Paris", "Rome"}
        assert value["is_large"] in {True, False}
    assert {call["name"] for call in found(printed, "tool")} <= {"save_answer", "Answer"}


@EACH
def test_errors_are_of_the_clients_own_classes(answers, script, environment):
    """For a model that is not there, and for a value that is out of range."""
    (errors, *others) = found(answers(script, environment).printed, "errors")
    missing, refused = CLASSES.get(script, ("NotFoundError", "BadRequestError"))

    assert errors["unknown_model"] == missing
    assert errors.get("refused", refused) == refused
    assert all(
        other["unknown_model"].endswith(("NotFoundError", "ResponseError")) for other in others
    )


@pytest.mark.parametrize("script", CANCELS)
def test_a_stream_that_is_left_ends_here(answers, script):
    """Before the client's next request is answered, and with nothing generated for nobody."""
    requests = answers(script, CLIENTS[script]).requests
    left = [place for place, line in enumerate(requests) if line.get("error") == "the client left"]

    assert left
    assert left[-1] < len(requests) - 1


@pytest.mark.parametrize("script", SWAPS)
def test_another_model_takes_part_in_a_conversation(answers, script):
    """There is room for one of them at a time."""
    (said,) = found(answers(script, CLIENTS[script]).printed, "swap")

    assert said[0] == SAID
    assert "Rome" in said[1]
    assert said[2]


@pytest.mark.parametrize("script", EMBEDS)
def test_embeddings_are_the_gateways(answers, gateway, script):
    """As numbers or as base64, whatever the client asks for."""
    (vectors,) = found(answers(script, CLIENTS[script]).printed, "embeddings")
    own = gateway.sdk.embeddings.create(model="embed", input=["what is a?", "b c d"]).data

    for vector, item in zip(vectors, own, strict=True):
        assert vector == pytest.approx(item.embedding, abs=1e-5)


def test_an_example_is_run_for_every_client(request):
    """What stands in the folder is what is tested."""
    names = {path.name for path in (request.path.parent / "examples").iterdir()}

    assert json.dumps(sorted(names)) == json.dumps(sorted(CLIENTS))
