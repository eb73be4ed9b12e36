"""Grammars on their way to the engine."""

from engine.api import EngineError, Grammar

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]}


def schema_format(schema: object) -> dict[str, object]:
    return {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}


async def test_a_schema_is_refused_before_a_model_is_loaded(live):
    """400 naming the field and the engine's reason; a bad schema costs no swap."""
    live.engine.errors["check"] = EngineError("bad_request", "Unimplemented keys: not", "grammar")
    asked = CHAT | {"response_format": schema_format({"not": {}})}

    response = await live.http.post("/v1/chat/completions", json=asked)

    assert response.status_code == 400
    error = response.json()["error"]
    assert error["param"] == "response_format.json_schema.schema"
    assert error["code"] == "invalid_json_schema"
    assert "Unimplemented keys: not" in error["message"]
    assert not live.engine.loads


async def test_a_strict_tool_is_refused_before_a_model_is_loaded(live):
    """400 naming the tool and the engine's reason."""
    live.engine.errors["check"] = EngineError("bad_request", 'Unimplemented: "not"', "grammar")
    tool = {"name": "look", "strict": True, "parameters": {"type": "object", "not": {}}}
    asked = CHAT | {"tools": [{"type": "function", "function": tool}]}

    response = await live.http.post("/v1/chat/completions", json=asked)

    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (400, "tools")
    assert "tools: the parameters of 'look': Unimplemented" in error["message"]
    assert not live.engine.loads


async def test_every_choice_follows_the_grammar(live):
    """The grammar that was checked is the one that each sequence gets."""
    asked = CHAT | {"n": 2, "guided_regex": "a+"}

    response = await live.http.post("/v1/chat/completions", json=asked)

    assert response.status_code == 200, response.text
    assert live.engine.checked == [Grammar("regex", "a+")]
    (runs,) = [runs for *_, runs in live.engine.generations]
    assert [run.generation.grammar for run in runs] == [Grammar("regex", "a+")] * 2


async def test_nothing_is_checked_where_nothing_is_asked(live):
    """Requests without a grammar do not wait for a check."""
    response = await live.http.post("/v1/chat/completions", json=CHAT)

    assert response.status_code == 200, response.text
    assert not live.engine.checked
