"""Streams hold what the document says of their events, each of them."""

import json

import jsonschema
import pytest

from tests.gateway.live import add_model, serving

ASKED = {"model": "tiny", "stream": True}
CHAT = ASKED | {"messages": [{"role": "user", "content": "a"}]}
BODIES = {
    "/v1/chat/completions": CHAT | {"logprobs": True, "stream_options": {"include_usage": True}},
    "/v1/completions": ASKED | {"prompt": "a"},
    "/v1/messages": CHAT | {"max_tokens": 9},
    "/v1/responses": ASKED | {"input": "a"},
    "/api/chat": CHAT,
    "/api/generate": ASKED | {"prompt": "a"},
}


@pytest.fixture
async def live(fake_engine, tmp_path):
    add_model(fake_engine, tmp_path, "tiny")
    async with serving(fake_engine, tmp_path) as live:
        yield live
        await live.answered()


def events_of(text):
    """As objects of `event` and `data`, which is how the document describes them."""
    for block in text.split("\n\n"):
        lines = [line.partition(": ") for line in block.splitlines() if not line.startswith(":")]
        if lines:
            yield {name: value for name, _, value in lines}


@pytest.mark.parametrize("path", BODIES)
async def test_every_piece_is_as_documented(live, document, path):
    """The content of an event's data is in its schema too."""
    response = await live.http.post(path, json=BODIES[path])
    media_type = response.headers["content-type"].partition(";")[0]
    content = document["paths"][path]["post"]["responses"]["200"]["content"]
    schema = content[media_type]["schema"]

    def check(value, schema):
        jsonschema.validate(value, schema | {"components": document["components"]})

    if media_type == "text/event-stream":
        data = schema["properties"]["data"]
        described = data["anyOf"][0] if "anyOf" in data else data
        events = list(events_of(response.text))
        for event in events:
            check(event, schema)
            if event["data"] != "[DONE]":
                check(json.loads(event["data"]), described["contentSchema"])
    else:
        events = response.text.splitlines()
        for line in events:
            check(json.loads(line), schema)

    assert len(events) > 3
