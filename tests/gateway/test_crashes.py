"""How often the process ended without being asked to."""

import asyncio
from pathlib import Path

import pytest

from gateway.cloud.events import wall_of
from gateway.crashes import Crashes, is_ours
from gateway.errors import DeviceSilent
from gateway.model import Instant


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
    crashes.steady()
    assert life(tmp_path, at(10)).recent == 1


def test_power_cuts_days_apart_do_not_add_up_though_the_clock_begins_anew_each_time(tmp_path: Path) -> None:
    for boot in range(5):
        crashes = life(tmp_path, at(20, wall=20.0), boot=str(boot))
        assert not crashes.reduced
        crashes.steady()


@pytest.mark.parametrize("content", [b"", b"{", b"[[1]]", b'{"a": 1}', b"\xff" * 100])
def test_a_damaged_file_counts_as_one(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "running").write_bytes(content)
    assert life(tmp_path, at(0)).recent == 1


def test_without_a_store_nothing_is_counted(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("in the way")
    crashes = life(tmp_path / "store", at(0))
    crashes.steady()
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
