"""Texts to tokens and back, as llama.cpp's and vLLM's clients ask for them."""

from engine.api import TextPrompt

MESSAGES = [{"role": "user", "content": "one two"}]


async def test_tokenize_as_llama_cpp(live):
    """No BOS unless asked for; pieces where they are wanted; no model is loaded."""
    body = {"model": "tiny", "content": "one two one"}
    plain = (await live.http.post("/tokenize", json=body)).json()
    pieces = (await live.http.post("/tokenize", json=body | {"with_pieces": True})).json()

    assert plain["tokens"] == [100, 101, 100]
    assert pieces["tokens"][1] == {"id": 101, "piece": "two"}
    assert live.engine.prepared[0][1] == TextPrompt("one two one", adds_bos=False)
    assert not live.engine.loads
    assert len(live.engine.discarded) == 2


async def test_tokenize_as_vllm(live):
    """With the tokenizer's BOS, the window, and tokens as texts where they are wanted."""
    body = {"model": "tiny", "prompt": "one two", "return_token_strs": True}
    reply = (await live.http.post("/tokenize", json=body)).json()

    assert reply == {
        "tokens": [100, 101],
        "count": 2,
        "max_model_len": 2048,
        "token_strs": ["one", "two"],
    }
    assert live.engine.prepared[0][1] == TextPrompt("one two")


async def test_tokenize_a_chat(live):
    """Messages are rendered as a chat completion's would be, tools and switches too."""
    tool = {"type": "function", "function": {"name": "look"}}
    body = {"model": "tiny", "messages": MESSAGES, "tools": [tool], "add_generation_prompt": False}
    reply = (await live.http.post("/tokenize", json=body)).json()

    assert reply["count"] == 2
    _, prompt = live.engine.prepared[-1]
    assert (prompt.tools, prompt.add_generation_prompt) == ([tool], False)


async def test_detokenize(live):
    """The text under both names; no tokens are no text."""
    await live.http.post("/tokenize", json={"model": "tiny", "content": "one two"})
    body = {"model": "tiny", "tokens": [101, 100]}
    reply = (await live.http.post("/detokenize", json=body)).json()
    empty = (await live.http.post("/detokenize", json=body | {"tokens": []})).json()

    assert reply == {"content": "two one", "prompt": "two one"}
    assert empty == {"content": "", "prompt": ""}


async def test_apply_template(live):
    """The prompt that a chat would have, as text."""
    body = {"model": "tiny", "messages": MESSAGES}
    reply = await live.http.post("/apply-template", json=body)

    assert reply.json() == {"prompt": "one two"}


async def test_an_empty_text_has_no_tokens(live):
    """Which is an answer, not an error."""
    reply = await live.http.post("/tokenize", json={"model": "tiny", "content": ""})

    assert reply.json()["tokens"] == []


REFUSED = [
    ("/tokenize", {"content": "a"}, "model"),
    ("/tokenize", {"model": "tiny"}, "content"),
    ("/detokenize", {"model": "tiny", "tokens": [1000]}, "tokens"),
    ("/detokenize", {"model": "tiny", "tokens": [-1]}, "tokens"),
    ("/apply-template", {"model": "base", "messages": MESSAGES}, "model"),
]


async def test_what_cannot_be_read_is_refused(live, subtests):
    """With the field at fault; among several models one has to be named."""
    for path, body, param in REFUSED:
        with subtests.test(path=path, param=param):
            response = await live.http.post(path, json=body)

            assert response.status_code == 400
            assert response.json()["error"]["param"].startswith(param)
