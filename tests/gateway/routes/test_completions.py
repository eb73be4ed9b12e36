"""Plain completions through the official SDK and plain HTTP."""

import openai
import pytest

from engine.api import Delta, TextPrompt, TokenLogprob, TokenPrompt, TopLogprob, Usage
from tests.gateway.live import Live

URL = "/v1/completions"


@pytest.fixture
async def client(live: Live):
    async with openai.AsyncOpenAI(base_url=f"{live.url}/v1", api_key="none") as client:
        yield client


async def test_a_reply(client):
    """16 tokens by default, no logprobs unless asked for."""
    reply = await client.completions.create(model="base", prompt="once upon")

    (choice,) = reply.choices
    assert (choice.text, choice.finish_reason, choice.logprobs) == ("Hello, world!", "stop", None)
    assert (reply.object, reply.usage.prompt_tokens) == ("text_completion", 2)


async def test_a_stream(client):
    """Chunks share the reply's object name; usage comes last."""
    stream = await client.completions.create(
        model="base", prompt="once", max_tokens=3, stream=True,
        stream_options={"include_usage": True},
    )  # fmt: skip
    *chunks, last = [chunk async for chunk in stream]

    assert [chunk.choices[0].text for chunk in chunks] == ["Hello", ", ", "world"]
    assert chunks[-1].choices[0].finish_reason == "length"
    assert (last.choices, last.usage.total_tokens) == ([], 4)


async def test_choices_are_prompt_major(client, live):
    """Index = prompt * n + j, and a prompt counts once in the usage."""
    reply = await client.completions.create(model="base", prompt=["a b", "c"], n=2)

    ((_, _, runs),) = live.engine.generations
    assert [choice.index for choice in reply.choices] == [0, 1, 2, 3]
    assert [run.index for run in runs] == [0, 1, 2, 3]
    assert [run.ticket for run in runs] == [1, 1, 2, 2]
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (3, 16)
    assert sorted(live.engine.discarded) == [1, 2]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a", [TextPrompt("a")]),
        (["a", "b"], [TextPrompt("a"), TextPrompt("b")]),
        ([1, 2], [TokenPrompt([1, 2])]),
        ([[1], [2, 3]], [TokenPrompt([1]), TokenPrompt([2, 3])]),
    ],
)
async def test_every_kind_of_prompt(client, live, prompt, expected):
    """Texts are tokenized, token ids are used as they are."""
    await client.completions.create(model="base", prompt=prompt)

    assert [prepared for _, prepared in live.engine.prepared] == expected


async def test_scoring_a_prompt(live, tmp_path):
    """max_tokens 0 with echo and logprobs gives every prompt token its log-probability."""
    half = [TopLogprob(5, "�", b"\xe2", -0.5), TopLogprob(6, "a", b"a", -1.5),
            TopLogprob(7, "a", b"a", -2.5)]  # fmt: skip
    live.engine.deltas[str(tmp_path / "base.gguf")] = [
        Delta(
            0,
            "x…",
            logprobs=[
                TokenLogprob(4, "x", b"x", None, []),
                TokenLogprob(5, "�", b"\xe2", -0.5, half),
                TokenLogprob(9, "�", b"\x80\xa6", -4.0, half),
            ],
            finish_reason="length",
            usage=Usage(3, 0),
        )
    ]
    body = {"model": "base", "prompt": [4, 5, 9], "max_tokens": 0, "echo": True, "logprobs": 3}

    reply = (await live.http.post(URL, json=body)).json()

    ((_, _, (run,)),) = live.engine.generations
    assert (run.generation.echo, run.generation.max_tokens) == (True, 0)
    assert (run.generation.sampling.logprobs, run.generation.sampling.prompt_logprobs) == (3, True)
    top = {"bytes:\\xe2": -0.5, "a": -1.5, "token_id:7": -2.5}
    assert reply["choices"][0]["logprobs"] == {
        "tokens": ["x", "bytes:\\xe2", "bytes:\\x80\\xa6"],
        "token_logprobs": [None, -0.5, -4.0],
        "top_logprobs": [None, top, top],
        "text_offset": [0, 1, 1],
        "token_ids": [4, 5, 9],
        "top_token_ids": [[], [5, 6, 7], [5, 6, 7]],
    }
    assert reply["usage"]["completion_tokens"] == 0


async def test_text_offsets_go_on_through_a_stream(client):
    """Each chunk says where its tokens begin in the whole text."""
    stream = await client.completions.create(model="base", prompt="a", logprobs=1, stream=True)

    offsets = [offset async for c in stream for offset in c.choices[0].logprobs.text_offset]
    assert offsets == [0, 5, 7, 12]


async def test_stop_conditions_reach_the_engine(live):
    """Stop strings and ids, ignore_eos, min_tokens and the sampler's settings."""
    body = {
        "model": "base", "prompt": "a", "max_tokens": 9, "stop": "END", "stop_token_ids": [3],
        "ignore_eos": True, "min_tokens": 2, "temperature": 0, "top_k": -1, "top_p": 0.5,
        "min_p": 0.1, "repeat_penalty": 1.1, "presence_penalty": 1, "logit_bias": {"5": -100},
    }  # fmt: skip

    assert (await live.http.post(URL, json=body)).status_code == 200

    ((_, _, (run,)),) = live.engine.generations
    generation, sampling = run.generation, run.generation.sampling
    assert (generation.stop, generation.stop_token_ids) == (("END",), (3,))
    assert (generation.ignore_eos, generation.min_tokens, generation.max_tokens) == (True, 2, 9)
    assert (sampling.temperature, sampling.top_k, sampling.top_p) == (0, 0, 0.5)
    assert (sampling.min_p, sampling.repetition_penalty) == (0.1, 1.1)
    assert (sampling.presence_penalty, sampling.logit_bias) == (1, {5: -100})


async def test_the_best_of_several(client, live):
    """The likeliest on average are told, each by its place among those; all of them were made."""
    tokens = [TokenLogprob(7, "a", b"a", logprob, []) for logprob in (-3.0, -1.0, -2.0)]
    live.engine.deltas[f"{live.services.settings.models_dir}/base.gguf"] = [
        Delta(n, f"choice {n}", token_ids=[7], logprobs=[token], finish_reason="stop",
              usage=Usage(1, 1))
        for n, token in enumerate(tokens)
    ]  # fmt: skip
    reply = await client.completions.create(model="base", prompt="a", n=2, best_of=3)

    assert [choice.text for choice in reply.choices] == ["choice 1", "choice 2"]
    assert [choice.index for choice in reply.choices] == [0, 1]
    assert [choice.logprobs for choice in reply.choices] == [None, None]
    assert reply.usage.completion_tokens == 3


async def test_timings_on_request(live):
    """In llama.cpp's words; how long it took stands in a header either way."""
    body = {"model": "base", "prompt": "a b"}
    plain = await live.http.post(URL, json=body)
    timed = await live.http.post(URL, json=body | {"timings_per_token": True})

    assert "timings" not in plain.json()
    assert timed.json()["timings"]["prompt_n"] == 2
    assert int(plain.headers["openai-processing-ms"]) >= 0
