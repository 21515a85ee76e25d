"""100,000 plates: how fast they load, how fast one is decided, what they weigh."""

import json
import random
import subprocess
import sys
import time
from pathlib import Path

from gateway.intake.list_folder import ListFolder
from gateway.model import Instant, ListReady, Passage
from gateway.site.lists import PlateList
from gateway.site.settings import AccessSettings, DeviceSettings, GateSettings, Ref, SiteSettings
from gateway.site.site import Site
from tests.benchmarks.measure import median, quantile

PLATES = 100_000
LETTERS = "0123456789ABCDEFGHJKLMNPQRSTUVWXYZ"


def many(chance: random.Random) -> list[str]:
    plates: set[str] = set()
    while len(plates) < PLATES:
        serial = "".join(chance.choices(LETTERS, k=5))
        if chance.random() < 0.3:  # new energy
            serial = chance.choice("DF") + "".join(chance.choices(LETTERS[:10], k=5))
        plates.add("鄂" + chance.choice(LETTERS[10:]) + serial)
    return sorted(plates)


def test_a_hundred_thousand_plates(tmp_path: Path) -> None:
    chance = random.Random(1)  # noqa: S311 - repeatable on purpose
    plates = many(chance)
    csv = tmp_path / "residents.csv"
    lines = [f"{plate},resident,2026-01-01,2026-12-31,,{n // 20}-{n % 20}-301" for n, plate in enumerate(plates)]
    csv.write_text("plate,kind,from,until,gates,note\n" + "\n".join(lines) + "\n", encoding="utf-8")
    run = [sys.executable, "-m", "tests.benchmarks.loading", str(tmp_path / "lists"), str(csv)]
    said = json.loads(subprocess.run(run, check=True, capture_output=True, text=True, timeout=120).stdout)
    print(  # noqa: T201
        f"\n100,000 plates: from CSV {said['csv']:.2f} s, as stored {said['store'] * 1000:.0f} ms; "
        f"{said['resident']:.1f} MiB resident, {said['most']:.1f} at most while they load"
    )
    assert said["lines"] == [PLATES, PLATES]

    stored = ListFolder(tmp_path / "lists").newest("residents").found
    assert stored is not None
    took = decisions(stored, plates, chance)
    p99 = quantile(took, 0.99)
    print(f"a step with a passage: median {median(took) * 1e6:.0f} us, p99 {p99 * 1e6:.0f} us")  # noqa: T201
    assert said["csv"] < 2.0
    assert said["store"] < 2.0
    assert said["resident"] <= 25.0
    assert p99 < 0.001


def decisions(loaded: PlateList, plates: list[str], chance: random.Random) -> list[float]:
    """CPU seconds of the steps of passages: listed, misread and unknown ones."""
    site = Site(
        SiteSettings(
            {"relay": DeviceSettings("relay", "a")},
            ("a",),
            gates={"north": GateSettings("north", Ref("relay", "do1"))},
            access=AccessSettings(cameras={"lpr": "north"}),
        ),
        bytes(16),
    )
    now = Instant(0.0, 1_795_000_000.0, synced=True)
    site.step(ListReady("residents", loaded, "store", "", "", now), now)
    took = []
    for number in range(5000):
        plate = chance.choice(plates)
        if number % 2:
            place = chance.randrange(2, len(plate))
            plate = plate[:place] + chance.choice(LETTERS) + plate[place + 1 :]
        now = Instant(float(number), 1_795_000_000.0 + number, synced=True)
        item = Passage("lpr", plate, now, f"k{number}", "in", 95.0, seen=now.wall, seen_firm=True)
        begun = time.thread_time()  # what else runs on the machine is no part of it
        site.step(item, now)
        took.append(time.thread_time() - begun)
    return took
