import json

import httpx
from clients import Load

STREAM = """data: {"choices": [{"text": ""}]}

data: {"choices": [{"text": "a"}]}

: a comment

data: {"choices": [{"text": "b"}]}

data: {"choices": [], "usage": {"completion_tokens": 3}}

data: [DONE]

"""


def client_of(requests: list[dict]) -> httpx.AsyncClient:
    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(json.loads(request.content))
        return httpx.Response(200, text=STREAM)

    return httpx.AsyncClient(base_url="http://server", transport=httpx.MockTransport(answer))


async def test_reply_counts_what_the_server_counted() -> None:
    """Empty pieces are no text, and the usage says how many tokens there were."""
    load = Load("http://server", "m", vocab_size=1000)

    async with client_of([]) as client:
        reply = await load.ask(client)

    assert len(reply.pieces) == 2
    assert reply.num_tokens == 3
    assert reply.asked < reply.pieces[0]


async def test_prompts_are_token_ids_that_differ() -> None:
    """Both servers read as many tokens, and no prefix helps either."""
    load, requests = Load("http://server", "m", vocab_size=1000, num_prompt=8), []

    async with client_of(requests) as client:
        await load.ask(client)
        await load.ask(client)

    first, second = (request["prompt"] for request in requests)
    assert len(first) == len(second) == 8
    assert first[0] != second[0]
    assert all(0 <= token < 1000 for token in first + second)
