"""`docs/api.md` says what happens to every request field; here each of its rows is sent."""

import json
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from gateway.anthropic.requests import MessagesRequest
from gateway.ollama.requests import ChatRequest as OllamaChat
from gateway.ollama.requests import GenerateRequest as OllamaGeneration
from gateway.openai.chat import ChatRequest
from gateway.openai.completion import CompletionRequest
from gateway.openai.responses import ResponseRequest
from gateway.openai.sampling import SamplingFields
from tests.gateway.fakes import FakeEngine
from tests.gateway.live import add_model, serving

DOC = Path(__file__).parents[2] / "docs/api.md"
SHARED = "Shared fields"
APIS = {
    "Chat completions": (
        "/v1/chat/completions",
        ChatRequest,
        {"messages": [{"role": "user", "content": "a"}]},
    ),
    "Completions": ("/v1/completions", CompletionRequest, {"prompt": "a"}),
    "Responses": ("/v1/responses", ResponseRequest, {"input": "a"}),
}
MESSAGES = {"messages": [{"role": "user", "content": "a"}]}
NEIGHBOURS = {
    "Anthropic's messages": ("/v1/messages", MessagesRequest, MESSAGES | {"max_tokens": 5}),
    "Ollama's chats": ("/api/chat", OllamaChat, MESSAGES),
    "Ollama's generations": ("/api/generate", OllamaGeneration, {"prompt": "a"}),
}
"""Other APIs, which share nothing."""
_ROW = re.compile(r"^\| `(\w+)` \| `(.*?)` \| (honoured|ignored|refused) \|", re.MULTILINE)


class Row(NamedTuple):
    field: str
    example: dict
    fate: str


def rows_of(section: str) -> dict[str, Row]:
    text = DOC.read_text().split(f"\n## {section}\n")[1].split("\n## ")[0]
    return {
        name: Row(name, json.loads(f"{{{example}}}"), fate)
        for name, example, fate in _ROW.findall(text)
    }


def rows_for(section: str) -> dict[str, Row]:
    """With the shared ones, where it has none of its own."""
    return rows_of(SHARED) | rows_of(section)


@pytest.mark.parametrize("section", APIS)
def test_every_field_of_a_request_is_in_the_tables(section):
    """A field that we read is documented, and one that is honoured or refused is read."""
    _, kind, _ = APIS[section]
    rows = rows_for(section)
    read = {row.field for row in rows.values() if row.fate != "ignored"}

    assert set(kind.__struct_fields__) <= set(rows)
    assert read <= set(kind.__struct_fields__)


@pytest.mark.parametrize("section", NEIGHBOURS)
def test_every_field_of_the_neighbours_is_in_their_tables(section):
    """As with our own."""
    _, kind, _ = NEIGHBOURS[section]
    rows = rows_of(section)
    read = {row.field for row in rows.values() if row.fate != "ignored"}

    assert set(kind.__struct_fields__) <= set(rows)
    assert read <= set(kind.__struct_fields__)


def test_shared_fields_are_shared():
    """None of them is of one request only."""
    assert set(SamplingFields.__struct_fields__) <= set(rows_of(SHARED))


@pytest.mark.parametrize("section", APIS)
async def test_every_example_meets_its_fate(section, tmp_path, subtests):
    """What is honoured or ignored is answered; what is refused is a 400 that names the field."""
    url, _, body = APIS[section]
    engine = FakeEngine()
    add_model(engine, tmp_path, "tiny", capabilities=("fill",))
    async with serving(engine, tmp_path) as live:
        for row in rows_for(section).values():
            with subtests.test(field=row.field):
                response = await live.http.post(url, json={"model": "tiny"} | body | row.example)

                if row.fate == "refused":
                    assert response.status_code == 400, response.text
                    assert response.json()["error"]["param"] == row.field
                else:
                    assert response.status_code == 200, response.text
        await live.answered()


@pytest.mark.parametrize("section", NEIGHBOURS)
async def test_every_example_of_the_neighbours_meets_its_fate(section, tmp_path, subtests):
    """A refusal names the field in its words, for their errors have no other place for it."""
    url, _, body = NEIGHBOURS[section]
    engine = FakeEngine()
    add_model(engine, tmp_path, "tiny", capabilities=("fill",))
    async with serving(engine, tmp_path) as live:
        for row in rows_of(section).values():
            with subtests.test(field=row.field):
                response = await live.http.post(url, json={"model": "tiny"} | body | row.example)

                if row.fate == "refused":
                    assert response.status_code == 400, response.text
                    assert row.field in response.text
                else:
                    assert response.status_code == 200, response.text
        await live.answered()
