"""No plate reaches a log, a metric, or an event that is kept for longer than plates may be."""

import io
import itertools
import random
import re
from pathlib import Path
from typing import Any

import pytest

from gateway import log
from gateway.log import Style, logger
from gateway.runtime.poison import Poison
from gateway.site.lists import ListEntry
from gateway.site.plates import PROVINCES
from gateway.site.settings import AccessSettings
from tests.site.compound import ALL, CAMERAS, Compound, yard

PAGE = Path(__file__).parents[2] / "docs" / "privacy.zh.md"


def plates(chance: random.Random, count: int) -> list[str]:
    letters = "0123456789ABCDEFGHJKLMNPQRSTUVWXYZ"
    shapes = ("{p}A{s}", "{p}·B {s}", "{p}AD{n}", "{p}A{t}警", "{p}C{t}学", "使{n}1", "WJ{p}{n}", "民航{n}")
    return [
        shape.format(
            p=chance.choice(PROVINCES),
            s="".join(chance.choices(letters, k=5)),
            t="".join(chance.choices(letters, k=4)),
            n="".join(chance.choices("0123456789", k=5)),
        )
        for shape, _ in zip(itertools.cycle(shapes), range(count), strict=False)
    ]


@pytest.mark.parametrize("style", list(Style))
def test_no_line_of_the_log_has_a_plate(style: Style) -> None:
    chance = random.Random(7)  # noqa: S311 - repeatable on purpose
    stream = io.StringIO()
    log.configure("debug", stream, style)
    told = plates(chance, 120)
    try:
        for number, plate in enumerate(told):
            speak = logger(f"gateway.test-{number}")  # one that repeats itself is told a few times only
            speak.info("passage", plate=plate, camera="lpr")
            speak.info("passage", passage={"plate_raw": plate, "plates": [plate, "WX 1234 A"], "key": f"k-{plate}"})
            speak.warning(f"what came was {plate!r}", body=f"<licensePlate>{plate}</licensePlate>".encode())
            try:
                dict[str, str]()[plate]
            except KeyError:
                speak.exception("not found", data=[{"deep": [plate]}])
    finally:
        log.configure()
    text = stream.getvalue()
    assert text.count("\n") >= 4 * len(told)
    for plate in told:
        shown = plate[1:].replace("·", "").replace(" ", "")[-4:]
        assert plate not in text
        assert plate.encode().hex() not in text
        assert not re.search(rf"[{PROVINCES}使民]\S?\S?[· ]?\S?{re.escape(shown)}\b", text), plate
    assert "WX 1234 A" not in text


def test_what_is_kept_for_long_has_no_plate(tmp_path: Path) -> None:
    chance = random.Random(8)  # noqa: S311 - repeatable on purpose
    site = Compound(yard(access=AccessSettings(cameras=CAMERAS)))
    may = ALL | {"access.update", "access.forget", "access.export", "access.presence"}
    told = [f"沪{chance.choice('ABC')}{chance.randrange(10_000, 99_999)}" for _ in range(60)]
    site.listed(*(ListEntry(plate, "resident") for plate in told[:30]), by="file")
    poison = Poison(tmp_path / "poison", "1")
    for number, plate in enumerate(told):
        site.see(chance.choice(sorted(CAMERAS)), plate)
        site.wait(2)
        args: dict[str, Any] = {"inside": True} if number % 2 else {}
        site.command("access.presence" if number % 2 else "access.export", allow=may, plate=plate, **args)
        site.person("access.show", role="steward", plate=plate)
        site.command("gate.open", gate="back", reason=f"let {plate} in")
        site.command("access.update", allow=may, list="x", version=plate, put=[{"plate": plate, "kind": "visitor"}])
    long = [event for event in site.events if event.stream.value in ("audit", "alarm", "inspection")]
    assert len(long) > 150
    kept = str([event.data for event in long])
    assert not [plate for plate in told if plate in kept]
    assert not [plate for plate in told if plate in str(site.site.passed())]
    for act in site.performs[:3]:
        assert act.args
    assert not poison.refused
    remembered = str({key: value for key, value in site.memory.items() if key.startswith("command/")})
    assert not [plate for plate in told if plate in remembered]


def test_the_page_says_what_the_law_wants_said() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for article in (6, 13, 17, 19, 24, 26, 28, 29, 45, 46, 47, 55, 56, 57):
        assert f"第{article}条" in page, article
    for words in ("access.forget", "access.export", "person.viewed", "store.keep", "入口标识", "影响评估"):
        assert words in page
