import subprocess
import sys

import httpx
import pytest
from others import _own_seconds
from routers import Router
from swap import Swap


def test_a_row_is_of_all_rounds():
    """Ratios are of one round each; the bound is 1.3 readings of the weights and 50 ms."""
    swap = Swap("m", "warm", 10**9, [0.1, 0.2, 0.3], [1.0, 1.0, 1.0], [1e10, 1e10, 1e10])

    row = swap.row()
    assert row["ours ms"] == "200 (100 - 300)"
    assert row["ours / theirs"] == "0.200 (0.100 - 0.300)"
    assert row["bound ms"] == "180 (180 - 180)"


def test_own_work_is_counted_after_its_process_has_ended():
    """Servers and their workers come and go while a benchmark measures: none of it is others' work."""
    before = _own_seconds()
    burn = "import time\nwhile time.process_time() < 0.2: pass"
    subprocess.run([sys.executable, "-c", burn], check=True)

    assert _own_seconds() - before >= 0.15


def test_a_side_that_was_left_out_is_blank():
    """There is no ratio then."""
    row = Swap("m", "warm", 10**9, [0.1], [], [1e10]).row()

    assert (row["llama-server ms"], row["ours / theirs"]) == ("", "")


def answering(text: str) -> Router:
    """A server with one answer to everything."""
    transport = httpx.MockTransport(lambda _: httpx.Response(200, text=text))
    return Router("fake", "", httpx.Client(transport=transport, base_url="http://fake"))


def test_the_first_text_counts():
    """Not comments, nor pieces without text."""
    said = ': loading\n\ndata: {"choices": []}\n\ndata: {"choices": [{"text": "x"}]}\n\n'

    assert answering(said).ttft_seconds("m") > 0
    with pytest.raises(SystemExit, match="said nothing"):
        answering(
            ': loading\n\ndata: {"choices": [{"text": ""}]}\n\ndata: [DONE]\n\n'
        ).ttft_seconds("m")


@pytest.mark.parametrize("state", ['"state": "loaded"', '"status": {"value": "loaded"}'])
def test_either_side_says_what_is_loaded(state):
    """In its own words."""
    listed = f'{{"data": [{{"id": "a", {state}}}, {{"id": "b", "state": "unloaded"}}]}}'

    assert answering(listed).loaded() == {"a"}
