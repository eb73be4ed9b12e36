from gateway.cli.watch import Rates, generated

METRICS = """\
# TYPE roundhouse_generated_tokens counter
roundhouse_generated_tokens_total{model="a"} 30.0
roundhouse_generated_tokens_total{model="b"} 5.0
# TYPE other counter
other_total{model="a"} 9.0
"""


def test_tokens_are_read_out_of_the_metrics():
    """By model, and nothing else."""
    assert generated(METRICS) == {"a": 30.0, "b": 5.0}


def test_a_rate_needs_two_looks():
    """And is over the time between them."""
    rates = Rates()

    assert rates.read({"a": 30.0}, 100.0) == {}
    assert rates.read({"a": 40.0}, 102.0) == {"a": 5.0}


def test_a_server_that_began_anew_has_no_negative_rate():
    """Its counters are at 0 again."""
    rates = Rates()
    rates.read({"a": 30.0}, 100.0)

    assert rates.read({"a": 2.0}, 101.0) == {"a": 0.0}
