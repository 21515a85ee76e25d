"""Which wall time is believed: synced, and no jump of more than a day before it has stayed for a day."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.cloud.journal.numbering import DAY_S, Believed

NOW = 1_795_000_000.0
YEAR_S = 365 * DAY_S


def watched(value: float | None = NOW) -> Believed:
    """A clock that was right when we began to look."""
    believed = Believed(value, 0.0)
    believed.see(NOW, 0.0, synced=True)
    return believed


def test_one_wrong_answer_of_a_time_server_is_not_believed_and_the_time_before_runs_on() -> None:
    believed = watched()
    for mono in range(0, 80, 10):
        believed.see(NOW + 10 * YEAR_S + mono, float(mono), synced=True)
    assert believed.value == NOW + 70
    assert believed.doubted
    believed.see(NOW + 90, 90.0, synced=True)
    assert believed.value == NOW + 90
    assert not believed.doubted


def test_a_jump_is_believed_after_it_has_stayed_for_a_day() -> None:
    believed = watched()
    for hour in range(24):
        believed.see(NOW + 3 * DAY_S + hour * 3600, hour * 3600.0, synced=True)
        assert believed.value == NOW + hour * 3600
    believed.see(NOW + 4 * DAY_S, DAY_S, synced=True)
    assert believed.value == NOW + 4 * DAY_S
    assert not believed.doubted


def test_a_time_that_was_believed_wrongly_is_given_up_for_one_that_stays() -> None:
    believed = Believed(NOW + 10 * YEAR_S, 0.0)
    believed.see(NOW, 0.0, synced=True)
    assert believed.value == NOW + 10 * YEAR_S
    assert believed.doubted, "also if an earlier life believed it"
    believed.see(NOW + DAY_S, DAY_S, synced=True)
    assert believed.value == NOW + DAY_S
    assert not believed.doubted


def test_a_box_that_was_off_for_a_month_is_not_in_doubt() -> None:
    believed = Believed(NOW, 0.0)
    believed.see(NOW + 30 * DAY_S, 0.0, synced=True)
    assert not believed.doubted


def test_a_hardware_clock_of_2053_binds_nobody() -> None:
    young = Believed(None, 0.0)
    young.see(NOW + 27 * YEAR_S, 0.0, synced=False)
    assert young.value is None
    old = Believed(NOW, 0.0)
    for day in range(5):
        old.see(NOW + 27 * YEAR_S + day * DAY_S, day * DAY_S, synced=False)
    assert old.value == NOW + 4 * DAY_S, "it runs on by monotonic time"


def test_an_unsynced_clock_that_was_right_before_carries_it_on() -> None:
    believed = watched()
    believed.see(NOW + 600, 600.0, synced=False)
    assert believed.value == NOW + 600


@given(st.lists(st.tuples(st.floats(0.0, DAY_S / 8), st.floats(-1.0, 1e9), st.booleans()), max_size=30))
def test_a_single_reading_moves_it_by_no_more_than_a_day(
    steps: list[tuple[float, float, bool]],
) -> None:
    believed = watched()
    mono, before = 0.0, NOW
    for seconds, off, synced in steps[:8]:
        mono += seconds
        believed.see(NOW + mono + off, mono, synced=synced)
        assert believed.value is not None
        assert before <= believed.value <= NOW + mono + 8 * DAY_S, "each step is believed up to a day"
        before = believed.value
