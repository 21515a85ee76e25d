"""The clock: what is trusted, and that it never goes back before what was told."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.clock import Clock, kernel_synced, timesyncd_synced


@dataclass
class Hands:
    """Clock hands that a test sets."""

    mono: float = 1000.0
    wall: float = 1_795_000_000.0
    synced: bool = False

    def clock(self) -> Clock:
        return Clock(mono=lambda: self.mono, wall=lambda: self.wall, synced=lambda: self.synced)


def test_the_kernel_can_be_asked() -> None:
    assert kernel_synced() in (True, False)


def test_trust_is_noticed_within_ten_seconds_and_lasts_72_hours() -> None:
    hands = Hands()
    clock = hands.clock()
    assert not clock.now().synced

    hands.synced = True
    hands.mono += 10
    assert clock.now().synced
    hands.synced = False
    hands.mono += 72 * 3600 - 1
    assert clock.now().synced
    hands.mono += 2
    assert not clock.now().synced


def test_an_untrusted_clock_runs_on_from_the_newest_time_told() -> None:
    hands = Hands(wall=0.0)
    clock = hands.clock()

    clock.not_before(1_795_000_000.0)
    hands.mono += 5
    hands.wall += 5

    assert clock.now().wall == 1_795_000_005.0


def test_a_clock_that_is_ahead_is_left_alone() -> None:
    hands = Hands()
    clock = hands.clock()

    clock.not_before(1_700_000_000.0)

    assert clock.now().wall == hands.wall


def test_a_trusted_clock_is_believed() -> None:
    hands = Hands(synced=True)
    clock = hands.clock()

    clock.not_before(hands.wall + 1e9)

    assert clock.now().wall == hands.wall


def test_steps_of_the_wall_clock_leave_the_monotonic_time_alone() -> None:
    hands = Hands(synced=True)
    clock = hands.clock()
    before = clock.now()

    hands.wall -= 3600
    hands.mono += 1

    assert clock.now().mono - before.mono == 1


def test_where_the_kernel_may_not_be_asked_timesyncd_is(tmp_path: Path) -> None:
    stamp = tmp_path / "synchronized"
    assert not timesyncd_synced(stamp)
    stamp.touch()
    assert timesyncd_synced(stamp)


@pytest.mark.parametrize(("age", "synced"), [(8 * 3600, True), (9 * 3600, False), (-3600, False)])
def test_what_timesyncd_said_holds_as_long_as_with_the_kernel(tmp_path: Path, age: float, *, synced: bool) -> None:
    stamp = tmp_path / "synchronized"
    stamp.touch()
    os.utime(stamp, (time.time() - age,) * 2)
    assert timesyncd_synced(stamp) is synced
