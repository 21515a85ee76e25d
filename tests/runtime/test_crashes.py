"""How often the process ended without being asked to."""

import asyncio
from pathlib import Path

import pytest

from gateway.cloud.events import wall_of
from gateway.errors import DeviceSilent
from gateway.model import Instant
from gateway.runtime.crashes import LONGEST_S, MANY, REDUCED_FOR_S, WITHIN_S, Crashes, is_ours


def at(seconds: float, *, wall: float | None = None) -> Instant:
    return Instant(seconds, 1_795_000_000.0 + seconds if wall is None else wall, synced=True)


def life(folder: Path, now: Instant, boot: str = "one") -> Crashes:
    crashes = Crashes(folder / "running", boot)
    crashes.begin(now)
    return crashes


def test_three_within_a_minute(tmp_path: Path) -> None:
    counted = [life(tmp_path, at(second)).recent for second in (0, 10, 20, 30)]
    assert counted == [0, 1, 2, 3]
    assert life(tmp_path, at(40)).reduced


def test_a_clean_end_is_none_and_clears_the_account(tmp_path: Path) -> None:
    for second in range(5):
        crashes = life(tmp_path, at(second))
    assert crashes.reduced
    crashes.end()
    assert life(tmp_path, at(6)).recent == 0


def test_they_are_forgotten_after_a_minute(tmp_path: Path) -> None:
    assert [life(tmp_path, at(second)).reduced for second in range(0, 400, 40)] == [False] * 10


def test_a_life_of_a_minute_is_no_link_of_a_chain(tmp_path: Path) -> None:
    for second in range(3):
        crashes = life(tmp_path, at(second))
    crashes.look(at(2 + WITHIN_S))
    assert life(tmp_path, at(63)).recent == 1


@pytest.mark.parametrize("apart", [5, 20, 86_400])
def test_power_cuts_are_no_crashes_of_ours(tmp_path: Path, apart: int) -> None:
    """However fast they follow each other; the clock begins anew each time, or is right."""
    for boot in range(10):
        crashes = life(tmp_path, at(20, wall=20.0 + boot * apart), boot=str(boot))
        assert not crashes.reduced
        assert crashes.recent == 0


def reduced(folder: Path, begin: float = 0.0) -> Crashes:
    for second in range(MANY + 1):
        crashes = life(folder, at(begin + second))
    assert crashes.reduced
    return crashes


def test_reduced_is_over_after_ten_minutes_without_a_crash(tmp_path: Path) -> None:
    crashes = reduced(tmp_path)
    begun = float(MANY)
    assert not crashes.is_served(at(begun + REDUCED_FOR_S - 1))
    assert crashes.is_served(at(begun + REDUCED_FOR_S))
    crashes.end_to_begin_anew()
    after = life(tmp_path, at(begun + REDUCED_FOR_S + 1))
    assert (after.reduced, after.recent) == (False, 0)


def test_a_crash_of_a_reduced_life_begins_its_time_anew(tmp_path: Path) -> None:
    reduced(tmp_path)
    crashes = life(tmp_path, at(500))
    assert crashes.reduced
    assert not crashes.is_served(at(700))
    assert crashes.is_served(at(500 + REDUCED_FOR_S))


def test_each_relapse_takes_twice_as_long_up_to_a_day(tmp_path: Path) -> None:
    now, spans = 0.0, []
    for _ in range(10):
        crashes = reduced(tmp_path, now)
        spans.append(crashes.reduced_for_s)
        now += MANY + crashes.reduced_for_s
        assert crashes.is_served(at(now))
        crashes.end_to_begin_anew()
    assert spans[:4] == [600.0, 1200.0, 2400.0, 4800.0]
    assert spans[-1] == 86_400.0


def test_a_day_without_a_relapse_forgets_them(tmp_path: Path) -> None:
    crashes = reduced(tmp_path)
    crashes.end_to_begin_anew()
    well = life(tmp_path, at(1000))
    well.look(at(1000 + LONGEST_S))
    assert reduced(tmp_path, 1001 + LONGEST_S).reduced_for_s == REDUCED_FOR_S


def test_a_power_cut_ends_a_reduction(tmp_path: Path) -> None:
    reduced(tmp_path)
    assert not life(tmp_path, at(5), boot="two").reduced


def test_whoever_stops_it_ends_a_reduction(tmp_path: Path) -> None:
    reduced(tmp_path).end()
    assert not life(tmp_path, at(5)).reduced


@pytest.mark.parametrize("content", [b"", b"{", b"[[1]]", b'{"a": 1}', b"\xff" * 100])
def test_a_damaged_file_counts_as_one(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "running").write_bytes(content)
    assert life(tmp_path, at(0)).recent == 1


def test_without_a_store_nothing_is_counted(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("in the way")
    crashes = life(tmp_path / "store", at(0))
    crashes.look(at(100))
    crashes.end()
    assert not crashes.reduced


def test_which_errors_are_ours() -> None:
    with pytest.raises(ValueError, match="x") as ours:
        wall_of("x")
    assert is_ours(ours.value)
    with pytest.raises(ValueError, match="of a test") as foreign:
        int("of a test")
    assert not is_ours(foreign.value)
    assert not is_ours(DeviceSilent("expected").with_traceback(ours.value.__traceback__))
    assert not is_ours(asyncio.CancelledError().with_traceback(ours.value.__traceback__))
    assert not is_ours(None)
