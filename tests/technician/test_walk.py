"""The walk through a zone: what ticks a device off, and the record of it."""

import json
from pathlib import Path
from typing import Any

from gateway.technician.walk import Walk, Walked, as_text, local
from tests.end_to_end.compound import compound
from tests.end_to_end.process import running
from tests.end_to_end.walking import walked
from tests.technician.command import site_gateway


def alarm(name: str, device: str, *, active: bool = True, kind: str = "fire") -> dict[str, Any]:
    cleared = None if active else "2026-11-22T10:00:05.000000Z"
    raised = "2026-11-22T10:00:00.000000Z"
    return {"alarm": name, "device": device, "kind": kind, "active": active, "raised_at": raised, "cleared_at": cleared}


def walk(*before: str) -> Walk:
    return Walk(
        [Walked("s1", "smoke-detector", "1F"), Walked("s2", "smoke-detector", "2F"), Walked("c1", "call-point", None)],
        before,
    )


def test_a_device_is_ticked_off_by_its_fire_and_passes_when_it_is_clear() -> None:
    one = walk()

    assert [each.device for each in one.see([alarm("a", "s1")])] == ["s1"]
    assert one.see([alarm("a", "s1")]) == []
    assert (one.devices["s1"].result, one.burning) == ("fire stands", [one.devices["s1"]])
    assert [each.device for each in one.see([alarm("a", "s1", active=False)])] == ["s1"]

    assert one.devices["s1"].result == "passed"
    assert one.to_reset == [one.devices["s1"]]
    one.ended(one.devices["s1"], "later")
    assert one.to_reset == []
    assert one.devices["s1"].clear == "2026-11-22T10:00:05.000000Z"


def test_what_stood_before_what_is_no_fire_and_who_is_elsewhere_tick_nothing_off() -> None:
    one = walk("old")

    assert one.see([alarm("old", "s1"), alarm("b", "s2", kind="fault"), alarm("c", "s9")]) == []


def test_a_call_point_makes_it_real_and_is_never_reset_by_the_walk() -> None:
    one = walk()
    one.see([alarm("c", "c1", active=False)])

    assert (one.is_real, one.is_tested, one.is_done, one.to_reset) == (True, False, False, [])
    for number, device in enumerate(("s1", "s2")):
        one.see([alarm(str(number), device, active=False)])
        one.ended(one.devices[device], "later")

    assert (one.is_tested, one.is_done) == (True, True)


def test_a_time_is_shown_as_it_is_on_site() -> None:
    assert local("2026-11-22T16:00:00Z", "Asia/Shanghai") == "2026-11-23 00:00:00"
    assert local(None, "UTC").strip() == "-"


def test_no_name_in_a_record_does_anything_to_a_terminal() -> None:
    evil = "1F \x1b]0;owned\x07\x1b[2J\u202e"
    shown = as_text(
        {
            "site_name": evil, "site": "s", "zone_name": evil, "zone": "b3", "gateway": "g", "version": "0", "by": evil,
            "begun": None, "ended": None, "why": evil, "passed": 0, "notice": [],
            "devices": [{"device": "s1", "fire": None, "clear": None, "result": "not tested", "place": evil}],
        },
        "UTC",
    )  # fmt: skip
    assert all(line.isprintable() for line in shown.split("\n"))
    assert shown.count("owned") == 5


# ---- through the running daemon ---------------------------------------------------------------------


async def test_all_are_tested_and_no_gate_moves(tmp_path: Path) -> None:
    async with compound(tmp_path) as it, running(it.site):
        out = tmp_path / "b3"
        ended = await walked(it, out)

        assert ended.status == 0, ended
        record = json.loads(out.with_suffix(".json").read_text())
        assert [(one["device"], one["result"], one["reset"]) for one in record["devices"]] == [
            ("smoke-1", "passed", True), ("smoke-2", "passed", True),
        ]  # fmt: skip
        assert (record["by"], record["zone"], record["not_tested"]) == ("zhang", "b3", [])
        assert record["why"] == "all were tested"
        assert all(one["begun"] <= one["fire"] <= one["clear"] for one in ({**record, **d} for d in record["devices"]))
        assert "2 of 2 passed." in out.with_suffix(".txt").read_text()
        await it.cloud.until(lambda seen: len(seen.of("alarm.reset")) == 2)
        assert all(event["test"] is True for event in it.cloud.of("alarm.raised") if event["data"]["kind"] == "fire")
        assert not it.written("relay-tcp")
        assert await it.asked("alarms") == []


async def test_an_interrupted_walk_ends_the_test_and_says_what_was_not_tested(tmp_path: Path) -> None:
    async with compound(tmp_path) as it, running(it.site):
        out = tmp_path / "b3"
        words = ("walk", it.site, "--zone", "b3", "--by", "zhang", "--out", out)
        ended = await site_gateway(*words, interrupt_at="[ ] smoke-2")

        assert ended.status == 0, ended
        record = json.loads(out.with_suffix(".json").read_text())
        assert (record["why"], record["not_tested"]) == ("interrupted", ["smoke-1", "smoke-2"])
        spans = [event["data"]["args"]["for"] for event in it.cloud.of("command.done")]
        assert spans in (["10m"], ["10m", "0s"])
        await it.cloud.until(lambda seen: len(seen.of("command.done")) == 2)
        assert as_text(record, "UTC") == out.with_suffix(".txt").read_text()


async def test_a_zone_that_burns_is_not_tested(tmp_path: Path) -> None:
    async with compound(tmp_path) as it, running(it.site):
        it.virtual.set("smoke-1.smoke", 1)
        await it.cloud.until(lambda seen: bool(seen.of("alarm.raised")))

        ended = await site_gateway("walk", it.site, "--zone", "b3", "--by", "zhang")

        assert (ended.status, "a fire stands" in ended.err) == (2, True)


async def test_a_zone_that_is_not_there_and_a_daemon_that_is_not(tmp_path: Path) -> None:
    async with compound(tmp_path) as it:
        nowhere = await site_gateway("walk", it.site, "--zone", "b9")
        nobody = await site_gateway("walk", it.site, "--zone", "b3")

    assert (nowhere.status, "b9" in nowhere.err, "b3" in nowhere.err) == (2, True, True)
    assert nobody.status == 3
