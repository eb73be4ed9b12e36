"""What was used, by days, while the database lags behind."""

from collections import Counter
from datetime import UTC, datetime

from gateway.keys.use import Book, day_of, seconds_to_next

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp()
HOUR = 3600


def test_days_and_months_begin_in_utc():
    """Half a day before midnight of the month's last day both end together."""
    assert day_of(NOON) == "2026-11-30"
    assert seconds_to_next("day", NOON) == seconds_to_next("month", NOON) == 12 * HOUR
    assert seconds_to_next("month", NOON - 24 * HOUR) == 36 * HOUR


def test_a_new_day_and_a_new_month_start_at_nothing():
    """What was used before counts no more."""
    book = Book()
    book.add("k", 5, NOON - 24 * HOUR)
    book.add("k", 3, NOON)

    assert (book.today("k", NOON), book.month("k", NOON)) == (3, 8)
    assert book.month("k", NOON + 12 * HOUR) == 0
    assert book.month("other", NOON) == 0


def test_nothing_is_forgotten_while_it_is_written():
    """What is on its way to the database counts, and so does what comes meanwhile."""
    book = Book()
    book.add("k", 1, NOON)
    taken = book.take()
    book.add("k", 2, NOON)

    assert taken == {"k": Counter({"2026-11-30": 1})}
    assert book.today("k", NOON) == 3
    book.written({"k": Counter({"2026-11-30": 41})})  # another server used the rest
    assert book.today("k", NOON) == 43


def test_what_could_not_be_written_is_taken_again():
    """A full disk forgives nobody."""
    book = Book()
    book.add("k", 1, NOON)
    book.take()
    book.add("k", 2, NOON)
    book.failed()

    assert book.take() == {"k": Counter({"2026-11-30": 3})}
