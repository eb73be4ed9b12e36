import pytest

from gateway.upstreams.via import MAX_SERVERS, handed_on, is_loop, new_pseudonym


def test_each_server_adds_its_name():
    """Behind those of the others, in the form of RFC 9110."""
    assert handed_on("", "roundhouse-1") == "1.1 roundhouse-1"
    assert handed_on("1.1 cdn, 2 proxy:80 (word)", "roundhouse-1") == (
        "1.1 cdn, 2 proxy:80 (word), 1.1 roundhouse-1"
    )


def test_no_two_servers_have_one_name():
    assert new_pseudonym() != new_pseudonym()


@pytest.mark.parametrize(
    ("via", "expected"),
    [
        ("", False),
        ("1.1 other, 1.1 roundhouse-12", False),
        ("1.1 roundhouse-1", True),
        ("1.1 other, 1.1 roundhouse-1 (ours), 1.1 third", True),
        (", ".join(["1.1 other"] * (MAX_SERVERS - 1)), False),
        (", ".join(["1.1 other"] * MAX_SERVERS), True),
    ],
)
def test_what_came_back_is_a_loop(via, expected):
    """And what has been everywhere, too: names in between may have been taken out."""
    assert is_loop(via, "roundhouse-1") is expected
