"""Waits that double."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.backoff import BackOff
from tests.chance import Drawn

SECONDS = st.floats(0.01, 100.0)
CHANCE = st.floats(0.0, 1.0, exclude_max=True)


@given(SECONDS, SECONDS, st.lists(CHANCE, min_size=1, max_size=40), st.floats(0.0, 1.0), st.floats(0.0, 10.0))
def test_waits_stay_between_their_least_and_a_ceiling_that_doubles(
    first: float, more: float, chances: list[float], sure: float, least: float
) -> None:
    last, drawn = first + more, Drawn(chances)
    waits = BackOff(first, last, drawn, least_s=least, sure=sure)
    for number in range(len(chances)):
        ceiling = min(first * 2.0**number, last)
        assert max(min(least, ceiling), sure * ceiling) * 0.999999 <= waits.next() <= ceiling * 1.000001


def test_what_works_again_begins_anew() -> None:
    waits = BackOff(10.0, 60.0)
    assert [waits.next() for _ in range(5)] == [10.0, 20.0, 40.0, 60.0, 60.0]
    waits.reset()
    assert waits.next() == 10.0


def test_a_lower_ceiling_for_one_wait() -> None:
    waits = BackOff(10.0, 60.0, Drawn(0.5), sure=0.5)
    assert waits.next(4.0) == 3.0
    assert waits.next() == 15.0


def test_a_lost_line_is_opened_again_after_half_a_second_to_one_and_then_to_its_ceiling() -> None:
    least, most = BackOff(1.0, 4.0, Drawn(0.0), least_s=0.5), BackOff(1.0, 4.0, Drawn(1.0), least_s=0.5)
    assert [least.next() for _ in range(4)] == [0.5] * 4
    assert [most.next() for _ in range(4)] == [1.0, 2.0, 4.0, 4.0]
