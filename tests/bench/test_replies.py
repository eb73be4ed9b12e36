from replies import Reply, summary


def test_reply_waits_for_its_first_piece() -> None:
    """The first token is waited for; the gaps are between tokens."""
    reply = Reply(asked=1.0, pieces=[1.5, 1.6, 1.8], num_tokens=3)

    assert reply.ttft_seconds == 0.5
    assert [round(gap, 3) for gap in reply.gaps_seconds] == [0.1, 0.2]


def test_summary_counts_from_the_first_request_to_the_last_piece() -> None:
    """Waiting in a queue lowers the rate."""
    replies = [Reply(0.0, [1.0, 2.0], num_tokens=2), Reply(0.0, [3.0, 4.0], num_tokens=2)]

    row = summary(replies)

    assert row["tok/s"] == "1.00"
    assert row["TTFT p50 ms"] == "1000"
    assert row["TTFT p99 ms"] == "3000"
    assert row["ITL p50 ms"] == "1000"
    assert row["requests"] == 2
