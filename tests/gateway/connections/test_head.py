import pytest

from gateway.config import Limits
from gateway.connections.head import refusal_of

HOST = (b"host", b"localhost")
LIMITS = Limits(headers=3)


@pytest.mark.parametrize(
    ("headers", "num_bytes", "version", "status"),
    [
        ([HOST], 10, "1.1", None),
        ([], 10, "1.0", None),
        ([HOST, (b"transfer-encoding", b" Chunked ")], 10, "1.1", None),
        ([], 10, "1.1", 400),
        ([HOST, HOST], 10, "1.1", 400),
        ([HOST, (b"transfer-encoding", b"gzip, chunked")], 10, "1.1", 501),
        ([HOST] + [(b"transfer-encoding", b"chunked")] * 2, 10, "1.1", 501),
        ([HOST] + [(b"x", b"")] * 3, 10, "1.1", 431),
        ([HOST], 2**15 + 1, "1.1", 431),
    ],
)
def test_a_head_has_one_meaning_and_a_bounded_size(headers, num_bytes, version, status):
    """What two servers could read differently is read by neither."""
    refusal = refusal_of(headers, num_bytes, version, LIMITS)

    assert (refusal and refusal.status) == status
