"""What an SD card has to take: bytes that the running gateway writes for each event and in a day.

Lives of the gateway (`card`), seven at a time and of different lengths, so that their start and end do not count:
an event costs what the longer life writes more. Each is measured by the kernel's account of the process and, where a
file system of its own may be mounted (root), at its block device. At one a minute nothing rides along with anything:
each event is on the card before the next comes. Beside them an append and sync of the same bytes. A day at rest is a
quiet minute 1,440 times, the hour's tidying 24 times, and the full pictures of 40 devices each five minutes.
"""

import json
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

SHORT, LONG, ALONE = 65, 125, 8
"""Events; the first two also seconds. Both lives have seen the tidying of the first full minute."""
MOST_KIB = {"telemetry": 3.0, "alarm": 12.0}
"""Of the process, for each at one a second with the broker there."""
MOST_AT_REST_MB = 30.0
DAY_S = 86400
PACES = [
    *((what, "1", count) for what in ("telemetry", "alarm", "rest") for count in (SHORT, LONG)),
    *((what, "alone", ALONE) for what in ("telemetry", "alarm")),
]
BARE = "bare", "1", 200, "there"
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
    """Those with the broker there, then those with it away."""
    lives: Lives = {}
    for broker in ("there", "away"):
        begun: dict[Life, subprocess.Popen[str]] = {}
        for life in [*((*pace, broker) for pace in PACES), *([BARE] if broker == "there" else [])]:
            place = folder / "-".join(map(str, life))
            command = [sys.executable, "-m", "tests.benchmarks.card", str(place), *map(str, life)]
            begun[life] = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            threading.Event().wait(APART_S)
        for life, process in begun.items():
            lives[life] = json.loads(process.communicate(timeout=400)[0].splitlines()[-1])
    return lives


def cost(life: dict[str, int], tail: str = "") -> Cost:
    return Cost(life[f"process{tail}"], life[f"device{tail}"])


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> Lives:
    return measured(tmp_path_factory.mktemp("cards"))


@pytest.mark.parametrize("broker", ["there", "away"])
def test_the_card(lives: Lives, broker: str) -> None:
    minute = cost(lives["rest", "1", LONG, broker], "_meanwhile") - cost(
        lives["rest", "1", SHORT, broker], "_meanwhile"
    )
    tidying = cost(lives["rest", "1", SHORT, broker], "_meanwhile")
    each, alone = {}, {}
    for what in ("telemetry", "alarm"):
        longer, shorter = (cost(lives[what, "1", count, broker]) for count in (LONG, SHORT))
        each[what] = (longer - shorter - minute).times(1 / (LONG - SHORT))
        life = lives[what, "alone", ALONE, broker]
        alone[what] = cost(life, "_meanwhile").times(1 / ALONE)
    rest = minute.times(1440) + tidying.times(24) + each["telemetry"].times(40 * 288)
    known = "" if lives[BARE]["known"] else " (no file system may be mounted: the device is not known)"
    bare = cost(lives[BARE]).times(1 / 200)
    print(f"\nbroker {broker}{known}; an append and sync: {bare.kib()}")  # noqa: T201 - the figures of the run
    print(f"at rest, 40 devices          {rest.a_day()} a day")  # noqa: T201
    for what in ("telemetry", "alarm"):
        print(f"{what:9} 1/s     {each[what].kib()}, {(each[what].times(DAY_S) + rest).a_day()} a day")  # noqa: T201
        print(f"{what:9} 1/min   {alone[what].kib()}, {(alone[what].times(1440) + rest).a_day()} a day")  # noqa: T201
        assert each[what].process > 0
        if broker == "there":
            assert each[what].process / 1024 < MOST_KIB[what]
            assert rest.process / 1e6 < MOST_AT_REST_MB
