"""What the running gateway measures of its devices, and what `plan` makes of it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.config.load import load
from gateway.config.site import SiteFile
from gateway.driver import Timing
from gateway.field.timeouts import AnswerTime
from gateway.local.control import NAME, Control
from gateway.model import Json
from gateway.settings.plan import assumptions, plan_lines
from gateway.technician.watch import measured_by_daemon


def test_the_longest_answer_is_known_after_a_hundred_and_forgotten_after_thousands() -> None:
    time = AnswerTime(Timing(0.05, 1.0))
    known = []
    for sample in (*[0.01] * 99, 0.3, *[0.01] * 8192):
        time.sample(sample)
        known.append(time.longest)

    assert known[:99] == [None] * 99
    assert known[99:8191] == [0.3] * 8092
    assert known[8191:] == [0.01] * 101


def site(folder: Path) -> SiteFile:
    smoke = "points: {smoke: {at: holding 3, alarms: {fire: {kind: fire, equals: 1}}}}"
    devices = "".join(f"  d{unit}: {{line: bus, unit: {unit}, {smoke}}}\n" for unit in range(1, 9))
    path = folder / "site.yaml"
    path.write_text(
        "version: 1\nsite: {id: s}\ngateway: g\nuplink: {url: 'mqtt://127.0.0.1'}\n"
        f"store: {{path: {folder}}}\nlines: {{bus: {{driver: modbus, serial: /dev/rs485}}}}\ndevices:\n{devices}"
    )
    loaded = load(path)
    assert loaded.site is not None, loaded.problems
    return loaded.site


@asynccontextmanager
async def daemon(folder: Path, answers: Mapping[str, float]) -> AsyncIterator[None]:
    """The control socket of one that has measured this."""

    async def watch(_request: Mapping[str, Any]) -> Json:
        return {"longest_answers": dict(answers)}

    async with asyncio.TaskGroup() as group:
        task = group.create_task(Control([folder / NAME], {"watch": watch}).run(), name="control")
        async with asyncio.timeout(5):
            while not (folder / NAME).exists():
                await asyncio.sleep(0.005)
        yield
        task.cancel()


async def test_plan_reckons_with_what_the_daemon_has_measured(tmp_path: Path) -> None:
    file = site(tmp_path)
    assert measured_by_daemon(file) == {}, "none runs"
    async with daemon(tmp_path, {f"d{unit}": 0.005 for unit in range(1, 9)} | {"gone": 1.0}):
        measured = await asyncio.to_thread(measured_by_daemon, file)

    assert measured == {f"d{unit}": 0.005 for unit in range(1, 9)}
    (assumed,), (known,), (given,) = plan_lines(file), plan_lines(file, 0.05, measured), plan_lines(file, 0.005)
    assert known.bound == given.bound
    assert known.bound.alarms[0].worst < assumed.bound.alarms[0].worst - 0.2
    assert "8 devices answer within the longest" in assumptions(0.05, len(measured))


def test_a_device_that_was_not_measured_keeps_what_is_assumed(tmp_path: Path) -> None:
    file = site(tmp_path)
    (assumed,), (some,) = plan_lines(file), plan_lines(file, 0.05, {"d1": 0.005})

    assert some.load.devices["d1"].latency == 0.005
    assert some.load.devices["d2"].latency == assumed.load.devices["d2"].latency == pytest.approx(0.05)
