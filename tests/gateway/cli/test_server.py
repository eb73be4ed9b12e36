import pytest

from gateway.cli.errors import CommandError
from gateway.cli.server import Server


@pytest.fixture
def server(loopback):
    with Server(loopback.url) as server:
        yield server


def ignore(_: str) -> None:
    pass


def test_lists_models(server):
    """The list is what the server lists."""
    assert [model["id"] for model in server.models()] == ["org/chat-model", "base-model"]


def test_url_may_be_an_sdks_base_url(loopback):
    """The URL that SDKs want, with /v1, serves too."""
    with Server(f"{loopback.url}/v1/") as server:
        assert server.model("org/chat-model")["family"] == "llama"


def test_stream_gives_chunks_and_tells_comments(server):
    """Chunks are yielded; what keeps the connection alive goes to the callback."""
    comments: list[str] = []

    chunks = list(server.stream("/v1/completions", {}, comments.append))

    assert [chunk["choices"][0]["text"] for chunk in chunks] == ["Par", "is."]
    assert comments == ["loading 43 %"]


def test_stream_asks_for_a_stream(server, loopback):
    """The body goes out as given, with `stream` set."""
    list(server.stream("/v1/completions", {"model": "m"}, ignore))

    assert loopback.asked == [{"model": "m", "stream": True}]


def test_refusal_carries_the_servers_words(server, loopback):
    """An error envelope is shown by its message, whatever the status."""
    loopback.refuse("/v1/completions", 507, "needs 9 GiB, has 2 GiB")

    with pytest.raises(CommandError, match=r"^needs 9 GiB, has 2 GiB$"):
        list(server.stream("/v1/completions", {}, ignore))


def test_error_inside_a_stream_is_raised(server, loopback):
    """An error event ends the stream, after what came before it."""
    loopback.ending = 'data: {"error": {"message": "the worker died"}}\n\n'
    chunks = server.stream("/v1/completions", {}, ignore)

    assert [next(chunks)["choices"][0]["text"] for _ in range(2)] == ["Par", "is."]
    with pytest.raises(CommandError, match="the worker died"):
        next(chunks)


def test_no_server_says_how_to_start_one():
    """Nobody listens: the error names the URL and the command that helps."""
    with Server("http://127.0.0.1:9") as server, pytest.raises(CommandError) as caught:
        server.models()

    assert "no server at http://127.0.0.1:9" in str(caught.value)
    assert "roundhouse serve" in str(caught.value)


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://x", "http://[::1", ""])
def test_bad_url_is_named(url):
    """What is no HTTP URL is said to be none."""
    with Server(url) as server, pytest.raises(CommandError, match="is no URL"):
        server.models()


@pytest.mark.parametrize("body", ["<h1>hello</h1>", "[]", "{}", '{"data": 3}'])
def test_other_servers_are_recognised(server, loopback, body):
    """A server of another kind is a clear error, not a crash."""
    loopback.routes["/v1/models"] = (200, body)

    with pytest.raises(CommandError, match="not as Roundhouse does"):
        server.models()


def test_status_without_envelope_is_shown(server):
    """An error without OpenAI's envelope still says where and what."""
    with pytest.raises(CommandError, match="/v1/models/absent answers 404"):
        server.model("absent")
