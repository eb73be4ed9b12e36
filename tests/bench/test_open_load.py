"""Requests that are due whether the earlier ones were answered or not."""

import math
import socketserver
import threading

import pytest
from open_load import OpenLoad, answered_length, arrivals

REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def test_arrivals_are_as_many_as_the_rate_says():
    """They come at random, the same for each seed, and all before the end."""
    moments = arrivals(100, seconds=50)

    assert 4_700 < len(moments) < 5_300
    assert moments == sorted(moments) == arrivals(100, seconds=50)
    assert moments[-1] < 50
    assert moments != arrivals(100, seconds=50, seed=1)


def test_a_reply_ends_where_its_head_says():
    """Nothing is known of its length before the head is there."""
    assert answered_length(REPLY) == len(REPLY)
    assert answered_length(REPLY[:20]) is None
    with pytest.raises(ValueError, match="without its length"):
        answered_length(b"HTTP/1.1 200 OK\r\n\r\n")


class Server(socketserver.ThreadingTCPServer):
    """Answers with each of `replies` in turn, on the same connections."""

    daemon_threads = True

    def __init__(self, replies: list[bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.replies = replies


class Handler(socketserver.StreamRequestHandler):
    server: Server

    def handle(self) -> None:
        while length := _length_of_next(self.rfile):
            self.rfile.read(length)
            if not self.server.replies:
                return  # it hangs up
            self.wfile.write(self.server.replies.pop(0))


def _length_of_next(lines) -> int:
    length = 0
    for line in lines:
        if line.lower().startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
        if line == b"\r\n":
            break
    return length


def test_what_is_refused_or_unanswered_is_infinitely_late():
    """An error and a connection that breaks are no answers, and the rest goes on."""
    refused = REPLY.replace(b"200 OK", b"503 Busy")
    with Server([REPLY, refused, REPLY]) as server:
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        load = OpenLoad("http://127.0.0.1:{}".format(*server.server_address[1:]), "/", {"a": 1})
        taken = load.run([0.0, 0.01, 0.02, 0.03])
        load.close()
        server.shutdown()

    assert sorted(map(math.isfinite, taken)) == [False, False, True, True]
    assert load.num_failed == 2
