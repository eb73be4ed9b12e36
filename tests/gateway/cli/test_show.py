import json

from gateway.cli.show import facts

DETAILS = {
    "model": {
        "id": "terse",
        "root": "org/m",
        "aliases": [],
        "state": "loaded",
        "device": "cpu",
        "family": "llama",
        "format": "gguf",
        "quantization": "Q4_1",
        "bytes": 98e6,
        "parameters": 135e6,
        "context_length": 4096,
        "capabilities": ["chat", "tools"],
        "source": "ollama",
    },
    "path": "/models/m.gguf",
    "licences": [],
    "chat_template": "the model's own",
    "max_context": 8192,
    "form": "tiled",
    "dtype": "auto",
    "kv_dtype": "auto",
    "weights_bytes": 97e6,
    "kv_bytes_per_token": 23040,
    "state_bytes_per_sequence": 0,
    "needs": [{"tokens": 4096, "bytes": 230e6}, {"tokens": 8192, "bytes": 325e6}],
}


def test_what_a_model_is():
    """A preset says whose weights it has; what is nothing is left out."""
    said = facts(DETAILS)

    assert said["shares"] == "org/m"
    assert said["state"] == "loaded on cpu"
    assert said["context"] == "4096 tokens here, 8192 at most"
    assert said["aliases"] == ""


def test_what_it_is_computed_in():
    """And what its keys and values are kept in, where somebody said it."""
    silent, told = facts(DETAILS), facts(DETAILS | {"dtype": "float32", "kv_dtype": "q8_0"})

    assert silent["in memory"] == "97 MB of weights, tiled, 23 kB a token"
    assert told["in memory"] == (
        "97 MB of weights, tiled, computed in float32, 23 kB a token in q8_0"
    )


def test_what_it_needs(roundhouse, loopback):
    """By context, with a mark at the one that it is served with."""
    loopback.routes["/v1/models/show"] = (200, DETAILS)

    printed = roundhouse("show", "terse", "--url", loopback.url)
    told = json.loads(roundhouse("show", "terse", "--json", "--url", loopback.url))

    marked = [line for line in printed.splitlines() if "as served here" in line]
    assert [line.split()[:3] for line in marked] == [["4096", "230", "MB"]]
    assert told == DETAILS
