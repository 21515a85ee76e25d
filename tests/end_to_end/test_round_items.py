"""Each kind of item of a round, normal, abnormal and not checkable: real wires, `walk`, people, a clock of its own.

Cameras: `test_round_cameras.py`. A duty check has no driver yet: `check` says so, and it is never normal.
"""

import asyncio
from pathlib import Path

from tests.end_to_end.compound import HEAD, SMOKE, Compound, compound
from tests.end_to_end.rounds import ended, outcomes
from tests.end_to_end.walking import walked
from tests.hands import Hands, gateway

DAY = 86400.0
DOWN = {"loop/down", "water/down"}
ITEMS = """\
    items:
      - {point: hydrant.pressure, between: [0.10, 0.60]}
      - {device: smoke-1}
      - {no_alarm: b3}
      - {tested: b3, within: 365d}
      - {panel: panel, faults: 0, disabled: 0}
      - {duty_check: panel, within: 5s}
      - {person: look}
      - {person: run, watch: {pump.running: 1}, within: 2s}
"""
SITE = f"""\
{HEAD}
lines:
  loop: {{driver: modbus, tcp: "127.0.0.1:1"}}
  water: {{driver: modbus, tcp: "127.0.0.1:2"}}
zones: {{b3: {{}}}}
devices:
  smoke-1: {{line: loop, unit: 1, {SMOKE}}}
  smoke-2: {{line: loop, unit: 2, {SMOKE}}}
  hydrant: {{line: water, unit: 3, points: {{pressure: {{at: input 0, scale: 0.001, unit: MPa, every: 1s}}}}}}
  pump: {{line: water, unit: 4, kind: pump, points: {{running: {{at: input 1, every: 1s}}}}}}
  panel:
    line: water
    unit: 5
    kind: panel
    points:
      fault: {{at: input 0, every: 1s, alarms: {{fault: {{kind: fault, equals: 1}}}}}}
      off: {{at: input 1, every: 1s, alarms: {{off: {{kind: disabled, equals: 1}}}}}}
inspection:
  all:
    due: 1h
{ITEMS}
  hasty:
    due: 5s
{ITEMS}
"""


async def run(it: Compound, round_: str, **said: bool) -> dict[str, tuple[str, str | None]]:
    """How each item ended in a run in which a person answers these items."""
    begun = await it.person("inspection.run", role="technician", round=round_)
    assert begun["ok"], begun
    name = begun["result"]["run"]
    for item, ok in said.items():
        answered = await it.person("inspection.answer", run=name, item=f"person:{item}", ok=ok)
        assert answered["ok"], answered
    return outcomes(await ended(it, name))


async def until_clear(it: Compound) -> None:
    async with asyncio.timeout(30):
        while await it.asked("alarms"):
            await asyncio.sleep(0.05)


async def test_every_kind_of_item_in_each_of_its_three_ways(tmp_path: Path) -> None:
    hands = Hands()
    async with compound(tmp_path, SITE) as it, gateway(it.site, hands):
        it.virtual.set("hydrant.pressure", 0.35)
        it.virtual.set("pump.running", 1)
        for device in ("smoke-1", "smoke-2", "hydrant", "pump", "panel"):
            await it.until_well(device)
        assert (await walked(it, it.folder / "walked")).status == 0
        await until_clear(it)
        found = await run(it, "all", look=True, run=True)
        assert found.pop("duty_check:panel") == ("not-checkable", "no driver")
        assert set(found.values()) == {("normal", None)}

        hands.wall += 366 * DAY
        it.virtual.set("hydrant.pressure", 0.05)
        it.virtual.set("pump.running", 0)
        it.virtual.set("panel.fault", 1)
        it.virtual.silence("smoke-1")
        for subject in ("panel/fault/fault", "smoke-1/silent"):
            await it.until_standing(subject, within=30)
        await asyncio.sleep(3)  # longer than the pump may have run before the answer
        assert await run(it, "all", look=False, run=True) == {
            "point:hydrant.pressure": ("abnormal", "below"),
            "device:smoke-1": ("abnormal", "silent"),
            "no_alarm:b3": ("abnormal", "alarms stand"),
            "tested:b3": ("abnormal", "not proven"),
            "panel:panel": ("abnormal", "faults"),
            "duty_check:panel": ("not-checkable", "no driver"),
            "person:look": ("abnormal", "answered no"),
            "person:run": ("abnormal", "not seen: pump.running = 1"),
        }

        hands.wall -= 366 * DAY
        hands.synced = False
        hands.pass_by(4 * DAY)
        it.virtual.restore("smoke-1")
        await it.until_well("smoke-1", within=60)
        for line in ("loop", "water"):
            it.virtual.line_down(line)
        await it.cloud.until(lambda seen: {one["subject"] for one in seen.of("alarm.raised")} >= DOWN, 60)
        assert await run(it, "hasty", run=True) == {
            "point:hydrant.pressure": ("not-checkable", "line-down"),
            "device:smoke-1": ("not-checkable", "line-down"),
            "no_alarm:b3": ("not-checkable", "not seen"),
            "tested:b3": ("not-checkable", "unsynced"),
            "panel:panel": ("not-checkable", "silent"),
            "duty_check:panel": ("not-checkable", "no driver"),
            "person:look": ("not-checkable", "nobody answered"),
            "person:run": ("not-checkable", "not read: pump.running = 1"),
        }
        assert it.virtual.writes == []
