"""Other APIs than OpenAI's, through their official clients, against real processes."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import anthropic
import httpx
import ollama
import pytest

from gateway_process import Gateway

MODEL = "llama-plain-F32"
MESSAGES = [{"role": "user", "content": "hello"}]
GREEDY = {"temperature": 0.0}
BODY = {"model": MODEL, "messages": MESSAGES, "max_tokens": 8, "extra_body": GREEDY}


@pytest.fixture(scope="module")
def claude(tiny: Gateway) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=tiny.url, api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def lama(tiny: Gateway) -> Iterator[ollama.Client]:
    client = ollama.Client(host=tiny.url)
    yield client
    client.close()


@pytest.fixture(scope="module")
def said(tiny: Gateway) -> str:
    """What the model says to OpenAI's clients, greedily."""
    reply = tiny.sdk.chat.completions.create(
        model=MODEL, messages=MESSAGES, max_tokens=8, temperature=0
    )
    return reply.choices[0].message.content


def test_anthropics_client_gets_the_same_answer(claude, said):
    """Streamed or not, it is the same chat; tokens are counted as they are used."""
    whole = claude.messages.create(**BODY)
    with claude.messages.stream(**BODY) as stream:
        text = "".join(stream.text_stream)
        streamed = stream.get_final_message()
    counted = claude.messages.count_tokens(model=MODEL, messages=MESSAGES)

    assert text == streamed.content[0].text == whole.content[0].text == said
    assert streamed.stop_reason == whole.stop_reason
    used = whole.usage
    prompt_tokens = used.input_tokens + used.cache_read_input_tokens
    assert (counted.input_tokens, streamed.usage.output_tokens) == (
        prompt_tokens,
        used.output_tokens,
    )


def test_a_stop_sequence_is_found_and_named(claude, said):
    """The text ends before it, whichever tokens spell it."""
    stop = said[2:4]
    message = claude.messages.create(**BODY, stop_sequences=[stop])

    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", stop)
    assert "".join(block.text for block in message.content) == said[: said.index(stop)]


def test_ollamas_client_gets_the_same_answer(lama, said):
    """Chats and generations, streamed or not; a generation is a chat of one turn."""
    options = GREEDY | {"num_predict": 8}
    whole = lama.chat(MODEL, MESSAGES, options=options)
    pieces = list(lama.chat(MODEL, MESSAGES, options=options, stream=True))
    generated = lama.generate(MODEL, MESSAGES[0]["content"], options=options)

    assert whole.message.content == generated.response == said
    assert "".join(piece.message.content for piece in pieces) == said
    assert pieces[-1].eval_count == whole.eval_count
    assert whole.total_duration > whole.eval_duration > 0


def test_ollamas_client_loads_shows_and_unloads(tiny, lama):
    """An empty prompt is an order, which the list of what runs shows."""
    shown = lama.show(MODEL)
    lama.generate(MODEL, "", keep_alive="5m")
    running = [model.model for model in lama.ps().models]
    lama.generate(MODEL, "", keep_alive=0)

    assert MODEL in running
    assert shown.modelinfo["general.architecture"] == "llama"


def test_the_async_clients(tiny, said):
    """They stream the same."""

    async def anthropics() -> str:
        async with (
            anthropic.AsyncAnthropic(base_url=tiny.url, api_key="none") as client,
            client.messages.stream(**BODY) as stream,
        ):
            return "".join([text async for text in stream.text_stream])

    async def ollamas() -> str:
        client = ollama.AsyncClient(host=tiny.url)
        options = GREEDY | {"num_predict": 8}
        pieces: AsyncIterator[ollama.ChatResponse] = await client.chat(
            MODEL, MESSAGES, options=options, stream=True
        )
        text = "".join([piece.message.content async for piece in pieces])
        await client.close()
        return text

    async def both() -> list[str]:
        return await asyncio.gather(anthropics(), ollamas())

    assert asyncio.run(both()) == [said, said]


def test_texts_tokens_and_templates(tiny):
    """A rendered chat, its tokens and back again are one and the same."""

    def post(path: str, **body: object) -> dict[str, object]:
        return httpx.post(f"{tiny.url}{path}", json={"model": MODEL} | body).json()

    prompt = post("/apply-template", messages=MESSAGES)["prompt"]
    tokens = post("/tokenize", content=prompt)["tokens"]
    of_chat = post("/tokenize", messages=MESSAGES)["tokens"]
    pieces = post("/tokenize", content=prompt, with_pieces=True)["tokens"]

    assert "hello" in prompt
    assert tokens == of_chat == [piece["id"] for piece in pieces]
    text = post("/detokenize", tokens=tokens)["content"]
    assert text.replace(" ", "") == prompt.replace(" ", "")  # this tokenizer begins words anew
