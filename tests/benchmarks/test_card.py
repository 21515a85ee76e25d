"""What an SD card has to take: bytes that the running gateway writes for each event and in a day.

Lives of the gateway (`card`), some at a time and of different lengths, so that their start and end do not count:
an event costs what the longer life writes more. Each is measured by the kernel's account of the process and, where a
file system of its own may be mounted (root), at its block device. At one a minute nothing rides along with anything:
each event is on the card before the next comes. Beside them an append and sync of the same bytes.

A day at rest, with 40 devices and a full picture of each in five minutes: five such minutes 288 times, and 24 times
what the end of a life writes that has an hour's pictures in its redo log.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.benchmarks.card import DEVICES

SHORT, LONG, ALONE = 65, 125, 8
"""Events; the first two also seconds. Both lives have seen the tidying of the first full minute."""
REST_S = 300
SELDOM, OFTEN = 300, 26
"""Seconds between two full pictures of a device; by the second a life has those of an hour at its end."""
MOST_KIB = {"telemetry": 3.0, "alarm": 12.0}
"""Of the process, for each at one a second with the broker there."""
MOST_AT_REST_MB = 30.0
DAY_S = 86400
PACES = [
    *((what, "1", count) for what in ("telemetry", "alarm") for count in (SHORT, LONG)),
    *((what, "alone", ALONE) for what in ("telemetry", "alarm")),
]
BARE = "bare", "1", 200, "there"
RESTS = [("rest", str(every), REST_S, broker) for broker in ("there", "away") for every in (SELDOM, OFTEN)]
APART_S = 2.0
"""Between the starts of two lives: a start takes more than its share of the machine."""
Life = tuple[str, str, int, str]
Lives = dict[Life, dict[str, int]]


@dataclass(frozen=True)
class Cost:
    """Bytes."""

    process: float
    device: float

    def __sub__(self, other: "Cost") -> "Cost":
        return Cost(self.process - other.process, self.device - other.device)

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.process + other.process, self.device + other.device)

    def times(self, factor: float) -> "Cost":
        return Cost(self.process * factor, self.device * factor)

    def kib(self) -> str:
        return f"{self.process / 1024:6.1f} KiB ({self.device / 1024:6.1f} at the device)"

    def a_day(self) -> str:
        return f"{self.process / 1e6:8.1f} MB ({self.device / 1e6:8.1f})"


def measured(folder: Path) -> Lives:
    """Those at rest, which take longest, and beside them those with the broker there, then those with it away."""
    there, away = ([(*pace, broker) for pace in PACES] for broker in ("there", "away"))
    resting = begun(folder, RESTS)
    lives = ended(begun(folder, [*there, BARE]))
    lives |= ended(begun(folder, away))
    return lives | ended(resting)


def begun(folder: Path, lives: Sequence[Life]) -> dict[Life, subprocess.Popen[str]]:
    processes: dict[Life, subprocess.Popen[str]] = {}
    for life in lives:
        command = [
            sys.executable,
            "-m",
            "tests.benchmarks.card",
            str(folder / "-".join(map(str, life))),
            *map(str, life),
        ]
        processes[life] = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        threading.Event().wait(APART_S)
    return processes


def ended(processes: dict[Life, subprocess.Popen[str]]) -> Lives:
    said = {life: process.communicate(timeout=600)[0] for life, process in processes.items()}
    return {life: json.loads(text.splitlines()[-1]) for life, text in said.items()}


def resting(lives: Lives, broker: str) -> Cost:
    """A day."""
    seldom, often = (lives["rest", str(every), REST_S, broker] for every in (SELDOM, OFTEN))
    return cost(seldom, "_meanwhile").times(DAY_S / REST_S) + cost(often, "_end").times(24)


def cost(life: dict[str, int], tail: str = "") -> Cost:
    return Cost(life[f"process{tail}"], life[f"device{tail}"])


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> Lives:
    return measured(tmp_path_factory.mktemp("cards"))


@pytest.mark.parametrize("broker", ["there", "away"])
def test_the_card(lives: Lives, broker: str) -> None:
    each, alone = {}, {}
    for what in ("telemetry", "alarm"):
        longer, shorter = (cost(lives[what, "1", count, broker]) for count in (LONG, SHORT))
        each[what] = (longer - shorter).times(1 / (LONG - SHORT))
        alone[what] = cost(lives[what, "alone", ALONE, broker], "_meanwhile").times(1 / ALONE)
    rest = resting(lives, broker)
    known = "" if lives[BARE]["known"] else " (no file system may be mounted: the device is not known)"
    bare = cost(lives[BARE]).times(1 / 200)
    print(f"\nbroker {broker}{known}; an append and sync: {bare.kib()}")  # noqa: T201 - the figures of the run
    print(f"at rest, {DEVICES} devices          {rest.a_day()} a day")  # noqa: T201
    for what in ("telemetry", "alarm"):
        print(f"{what:9} 1/s     {each[what].kib()}, {(each[what].times(DAY_S) + rest).a_day()} a day")  # noqa: T201
        print(f"{what:9} 1/min   {alone[what].kib()}, {(alone[what].times(1440) + rest).a_day()} a day")  # noqa: T201
    if broker == "there":
        assert max(rest.process, rest.device) / 1e6 < MOST_AT_REST_MB
        assert all(0 < each[what].process / 1024 < most for what, most in MOST_KIB.items())
