"""Chat completions through the official SDK, as clients see them."""

import asyncio

import openai
import pytest

from engine.api import Delta, TokenLogprob, TopLogprob, Usage
from tests.gateway.live import Live

MESSAGES = [{"role": "user", "content": "say hello"}]


@pytest.fixture
async def client(live: Live):
    async with openai.AsyncOpenAI(base_url=f"{live.url}/v1", api_key="none") as client:
        yield client


async def test_a_reply(client):
    """The async SDK reads text, usage, finish reason and request id."""
    reply = await client.chat.completions.create(model="tiny", messages=MESSAGES)

    (choice,) = reply.choices
    assert (choice.message.role, choice.message.content) == ("assistant", "Hello, world!")
    assert choice.finish_reason == "stop"
    assert (reply.usage.prompt_tokens, reply.usage.total_tokens) == (2, 6)
    assert (reply.object, reply.model) == ("chat.completion", "org/tiny")
    assert reply._request_id.startswith("req_")


async def test_the_sync_sdk_streams(live):
    """Text comes in pieces; the usage comes last, and only if asked for."""

    def talk() -> list[openai.types.chat.ChatCompletionChunk]:
        with openai.OpenAI(base_url=f"{live.url}/v1", api_key="none") as client:
            options = {"include_usage": True}
            return list(
                client.chat.completions.create(
                    model="ORG/Tiny", messages=MESSAGES, stream=True, stream_options=options
                )
            )

    *chunks, closing, last = await asyncio.to_thread(talk)

    assert "".join(chunk.choices[0].delta.content for chunk in chunks) == "Hello, world!"
    assert [chunk.choices[0].delta.role for chunk in chunks] == ["assistant", *[None] * 4]
    assert closing.choices[0].finish_reason == "stop"
    assert (last.choices, last.usage.completion_tokens) == ([], 4)
    assert all(chunk.usage is None for chunk in [*chunks, closing])
    assert len({chunk.id for chunk in [*chunks, closing, last]}) == 1


async def test_the_stream_helper_accumulates_several_choices(client, live):
    """Roles come first and in order, so that SDKs can put the choices where they belong."""
    async with client.chat.completions.stream(model="tiny", messages=MESSAGES, n=3) as stream:
        reply = await stream.get_final_completion()

    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    assert {choice.message.content for choice in reply.choices} == {"Hello, world!"}
    assert {choice.message.role for choice in reply.choices} == {"assistant"}
    ((_, _, runs),) = live.engine.generations
    assert len({run.ticket for run in runs}) == 1


async def test_choices_of_a_seed_differ_among_themselves_only(client, live):
    """Each choice draws on its own, and the same request draws the same again."""
    for _ in range(2):
        await client.chat.completions.create(model="tiny", messages=MESSAGES, n=2, seed=7)

    first, second = (
        [run.generation.sampling.seed for run in g[2]] for g in live.engine.generations
    )
    assert first == second == [7, 8]


async def test_logprobs(client, live, tmp_path):
    """Alternatives come with their exact bytes, so that split characters can be put together."""
    top = [TopLogprob(7, "�", b"\xe2", -0.1), TopLogprob(8, "�", b"\x80", -9.0)]
    live.engine.deltas[str(tmp_path / "org/tiny.gguf")] = [
        Delta(0, token_ids=[7], logprobs=[TokenLogprob(7, "�", b"\xe2", -0.1, top)]),
        Delta(
            0,
            "x",
            token_ids=[9],
            logprobs=[TokenLogprob(9, "x", b"x", float("-inf"), [])],
            finish_reason="stop",
            usage=Usage(2, 2),
        ),
    ]

    reply = await client.chat.completions.create(
        model="tiny", messages=MESSAGES, logprobs=True, top_logprobs=2
    )

    first, second = reply.choices[0].logprobs.content
    assert first.bytes == [0xE2]
    assert [(t.bytes, t.logprob, t.token_id) for t in first.top_logprobs] == [
        ([0xE2], -0.1, 7),
        ([0x80], -9.0, 8),
    ]
    assert second.logprob == -9999.0


@pytest.mark.parametrize(
    ("fields", "error", "status"),
    [
        ({"model": "nothing"}, openai.NotFoundError, 404),
        ({"model": "tiny", "max_tokens": 5000}, openai.BadRequestError, 400),
        ({"model": "broken"}, openai.InternalServerError, 503),
    ],
)
async def test_errors_are_the_sdks_own_classes(client, fields, error, status):
    """The envelope is read: message, code and param; what cannot heal is not retried."""
    with pytest.raises(error) as caught:
        await client.chat.completions.create(messages=MESSAGES, **fields)

    assert caught.value.status_code == status
    assert caught.value.code
    assert caught.value.request_id


async def test_a_late_error_raises_in_the_sdk(client, live):
    """An error event inside a stream becomes an APIError with our message."""
    live.engine.gate.clear()
    live.engine.step()
    stream = await client.chat.completions.create(model="tiny", messages=MESSAGES, stream=True)
    await anext(stream)
    live.engine.lose("cpu")
    live.engine.gate.set()

    with pytest.raises(openai.APIError, match="died"):
        async for _ in stream:
            pass


async def test_content_parts_tools_and_switches_reach_the_template(client, live):
    """Templates get text, the tools as they came, and the switches that are allowed."""
    tool = {"type": "function", "function": {"name": "look", "x-own": 1}}

    await client.chat.completions.create(
        model="tiny",
        messages=[{"role": "user", "content": [{"type": "text", "text": t} for t in ("a", "b")]}],
        tools=[tool],
        reasoning_effort="none",
        extra_body={"chat_template_kwargs": {"date_string": "today"}},
    )

    source, prompt = live.engine.prepared[-1]
    assert prompt.messages == [{"role": "user", "content": "a\nb"}]
    assert prompt.tools == [tool]
    assert prompt.template_kwargs == {"enable_thinking": False, "date_string": "today"}
    assert source.chat_template is None
