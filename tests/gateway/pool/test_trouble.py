from gateway.pool.actions import CannotLoad
from gateway.pool.limits import PoolLimits
from gateway.pool.trouble import Trouble

LIMITS = PoolLimits(max_crashes=2, max_backoff_seconds=3.0)


def test_the_first_failure_may_be_tried_again_at_once():
    """One failed load bars nothing."""
    trouble = Trouble()
    trouble.failed("bad_checkpoint", "cut short", LIMITS, now=10.0)

    assert trouble.refusal(10.0) is None


def test_each_further_failure_bars_for_twice_as_long_up_to_the_limit():
    """Failures in a row cost 0, 1, 2, then at most 3 seconds here."""
    trouble = Trouble()
    refusals = [trouble.failed("bad_checkpoint", "cut", LIMITS, now=0.0) for _ in range(5)]

    assert [refusal.retry_seconds for refusal in refusals] == [0, 1, 2, 3, 3]


def test_a_refusal_says_how_long_it_lasts():
    """Before its time is up, the last reason is given with the seconds that remain."""
    trouble = Trouble()
    for _ in range(3):
        trouble.failed("out_of_memory", "full", LIMITS, now=10.0)

    assert trouble.refusal(10.5) == CannotLoad("out_of_memory", "full", 1.5)
    assert trouble.refusal(12.0) is None


def test_a_load_that_succeeds_forgives_failures():
    """Only failures in a row count."""
    trouble = Trouble()
    trouble.failed("out_of_memory", "full", LIMITS, now=0.0)
    trouble.loaded()

    assert trouble.failed("out_of_memory", "full", LIMITS, now=1.0).retry_seconds == 0


def test_crashes_in_a_row_bar_the_model():
    """A worker may die once by chance; the limit's number of times in a row is refused."""
    trouble = Trouble()

    assert trouble.crashed("cpu", LIMITS, now=0.0) is None
    assert trouble.crashed("cpu", LIMITS, now=0.0) == CannotLoad(
        "worker_lost", "the worker of cpu died 2 times in a row with this model", 1.0
    )


def test_a_served_request_forgives_crashes():
    """A model that served while its worker lived is not what killed it."""
    trouble = Trouble()
    trouble.crashed("cpu", LIMITS, now=0.0)
    trouble.served()

    assert trouble.crashed("cpu", LIMITS, now=0.0) is None
