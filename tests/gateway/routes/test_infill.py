"""Gaps, as editors ask for them: llama.cpp's `/infill`, OpenAI's and Ollama's `suffix`."""

import json

import openai
import pytest

from engine.api import FillPrompt, Snippet

URL = "/infill"
GAP = {"model": "base", "input_prefix": "def f():\n", "input_suffix": "\nf()", "prompt": "  re"}


async def test_a_gap_is_filled(live):
    """The line up to the cursor belongs to what is before it; other files come along."""
    extra = [{"filename": "b.py", "text": "x = 1"}]
    reply = await live.http.post(URL, json=GAP | {"input_extra": extra, "n_predict": 3})

    answer = reply.json()
    assert (answer["content"], answer["stop"], answer["stop_type"]) == (
        "Hello, world",
        True,
        "limit",
    )
    assert (answer["tokens_predicted"], answer["tokens"]) == (3, [0, 1, 2])
    assert answer["timings"]["predicted_n"] == 3
    ((_, prompt),) = live.engine.prepared
    assert prompt == FillPrompt("def f():\n  re", "\nf()", [Snippet("x = 1", "b.py")])


async def test_pieces_end_with_the_last(live):
    """There is no `[DONE]`, as llama.cpp has none."""
    reply = await live.http.post(URL, json=GAP | {"stream": True})

    *pieces, last = [json.loads(e.removeprefix("data: ")) for e in reply.text.split("\n\n") if e]
    assert "".join(piece["content"] for piece in pieces) == "Hello, world!"
    assert not any(piece["stop"] for piece in pieces)
    assert (last["content"], last["stop"], last["stop_type"]) == ("", True, "eos")


async def test_a_prompt_is_only_read(live):
    """Editors do so ahead of time, so that what comes next is quick."""
    reply = await live.http.post(URL, json=GAP | {"n_predict": 0})

    ((_, _, (run,)),) = live.engine.generations
    assert run.generation.max_tokens == 0
    assert reply.json()["content"] == ""


@pytest.mark.parametrize(("body", "param"), [(GAP | {"model": "tiny"}, "model"), ({}, None)])
async def test_what_cannot_be_filled_is_refused(live, body, param):
    """By a model that knows no gaps, and without texts."""
    reply = await live.http.post(URL, json=body)

    assert reply.status_code == 400
    assert reply.json()["error"]["param"] in {param, "input_prefix"}


async def test_a_suffix_makes_a_gap(live):
    """OpenAI's and Ollama's word for it."""
    async with openai.AsyncOpenAI(base_url=f"{live.url}/v1", api_key="none") as client:
        reply = await client.completions.create(model="base", prompt="a b", suffix="c")
        with pytest.raises(openai.BadRequestError, match="fill in the middle"):
            await client.completions.create(model="tiny", prompt="a b", suffix="c")
    body = {"model": "base", "prompt": "a b", "suffix": "c", "stream": False}
    other = (await live.http.post("/api/generate", json=body)).json()

    assert (reply.choices[0].text, other["response"]) == ("Hello, world!", "Hello, world!")
    assert [prompt for _, prompt in live.engine.prepared] == 2 * [FillPrompt("a b", "c")]


async def test_a_suffix_alone_is_a_gap_before_it(live):
    """Ollama's requests without any text only load a model; this has one."""
    body = {"model": "base", "prompt": "", "suffix": "c", "stream": False}
    reply = await live.http.post("/api/generate", json=body)

    assert reply.json()["response"] == "Hello, world!"
    assert [prompt for _, prompt in live.engine.prepared] == [FillPrompt("", "c")]
