"""How much more a key may ask for, by what it asked for before."""

import random
from datetime import UTC, datetime

from gateway.keys.account import Account, Moment
from gateway.keys.key import Rights
from gateway.keys.use import Book

DATE = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()


def account_of(book: Book | None = None, **limits: float) -> Account:
    return Account("k", Rights(**limits), book or Book(), now=0)


def at(now: float) -> Moment:
    return Moment(now, DATE + now)


def test_no_limits_let_everything_in():
    """And are told of in no header."""
    account = account_of()
    for _ in range(1000):
        assert account.enter(at(0)) is None

    assert account.requests is None
    assert account.tokens is None


def test_requests_per_minute():
    """The one too many is told when to come again."""
    account = account_of(requests_per_minute=2)
    entered = [account.enter(at(0)) for _ in range(3)]

    assert entered[:2] == [None, None]
    assert (entered[2].limit, entered[2].retry_after_seconds) == ("requests", 30)
    assert account.enter(at(30)) is None


def test_tokens_per_minute():
    """A request may take more than is left; the next one waits for that."""
    account = account_of(tokens_per_minute=60)
    assert account.enter(at(0)) is None
    account.spend_tokens(100, now=0)

    exceeded = account.enter(at(0))
    assert (exceeded.limit, exceeded.retry_after_seconds) == ("tokens", 41)
    assert account.enter(at(41)) is None


def test_requests_at_once():
    """Whoever leaves makes room."""
    account = account_of(concurrency=1)
    assert account.enter(at(0)) is None
    assert account.enter(at(0)).limit == "concurrency"
    account.leave()

    assert account.enter(at(0)) is None


def test_budgets_end_with_their_day_and_month():
    """The day's is there again tomorrow; the month's is not."""
    day = 24 * 3600
    account = account_of(device_seconds_per_day=10, device_seconds_per_month=15)
    account.spend_seconds(10, DATE)
    exceeded = account.enter(at(0))
    assert (exceeded.limit, exceeded.retry_after_seconds) == ("budget", day / 2)

    assert account.enter(at(day)) is None
    account.spend_seconds(5, DATE + day)
    assert account.enter(at(day)).what == "seconds of computing per month"


def test_a_refused_request_costs_nothing():
    """Asking too often puts nobody further behind."""
    account = account_of(requests_per_minute=1, concurrency=1)
    account.enter(at(0))
    before = account.requests.level(0)
    account.enter(at(0))

    assert (account.requests.level(0), account.num_requests) == (before, 1)


def test_other_rights_count_at_once():
    """A limit that an operator sets holds for the very next request, and one taken away is gone."""
    account = account_of(requests_per_minute=5)
    account.enter(at(0))
    account.adjust(Rights(concurrency=1), now=0)

    assert account.requests is None
    assert account.enter(at(0)).limit == "concurrency"


def test_no_history_breaks_a_limit():
    """Whatever a client does: never more at once, in a minute or a day than its key says."""
    for seed in range(40):
        draw = random.Random(seed)
        book = Book()
        limits = {"requests_per_minute": 30, "concurrency": 3, "device_seconds_per_day": 50}
        account, now, inside, begun = account_of(book, **limits), 0.0, 0, []
        for _ in range(400):
            now += draw.expovariate(2)
            used = book.today("k", DATE + now)
            if inside and draw.random() < 0.5:
                account.leave()
                account.spend_seconds(draw.random(), DATE + now)
                inside -= 1
            elif account.enter(at(now)) is None:
                assert used < 50, "let in without a budget"
                inside += 1
                begun.append(now)

            assert account.num_requests == inside <= 3
            assert len(begun) <= 30 + now / 2
            assert used <= 50 + 3
