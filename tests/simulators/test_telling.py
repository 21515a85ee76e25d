"""The demo as people see it: one line an event, in local time, in two languages, in colours for any ground."""

import asyncio
import contextlib
import re
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from gateway.contract.data import PASSAGE
from simulators.telling import Teller
from tests.technician.terminal import terminal

AT = "2026-12-01T02:03:38.5Z"
DECISIONS = PASSAGE["properties"]["decision"]["enum"]
LINE = re.compile(r"\d\d:\d\d:\d\d  \S*[一-鿿]\S* [A-Za-z -]+: .+")


def event(name: str, subject: str | None = None, **data: Any) -> dict[str, Any]:
    return {"type": f"sitegateway.{name}.v1", "time": AT, "subject": subject, "data": data}


@pytest.mark.parametrize(
    ("told", "line"),
    [
        (
            event("alarm.raised", "smoke-1/smoke/fire", kind="fire", place="3号楼", text="alarm"),
            "10:03:38  火警 FIRE: smoke-1/smoke/fire 3号楼 alarm",
        ),
        (
            event("alarm.cleared", "net/down", kind="fault", place=None, text=None),
            "10:03:38  故障恢复 fault clear: net/down",
        ),
        (
            event("gate.held", "north", gate="north", cause="fire", by=None, actual="moving"),
            "10:03:38  道闸常开 gate held open: north (fire, 杆 arm moving)",
        ),
        (
            event("access.denied", plate="沪A12345", gate="north", decision="denied", direction="in", reason="unknown"),
            "10:03:38  车辆拒绝 car stays outside: 沪A12345 入 in north (unknown)",
        ),
        (
            event("access.passage", plate=None, gate=None, decision="no-gate", direction=None, reason="no-plate"),
            "10:03:38  车辆记录 car noted: 无牌 no plate (no-plate)",
        ),
    ],
)
def test_a_line_says_it_in_both_languages(told: dict[str, Any], line: str) -> None:
    assert Teller("Asia/Shanghai", colour=False).line(told) == line
    coloured = Teller("Asia/Shanghai", colour=True).line(told)
    assert coloured is not None
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == line


@pytest.mark.parametrize("decision", DECISIONS)
def test_every_decision_about_a_car_has_its_words(decision: str) -> None:
    line = Teller("UTC", colour=False).line(
        event("access.passage", plate="沪A12345", gate="north", decision=decision, direction="in", reason="listed")
    )
    assert line is not None
    assert re.fullmatch(r"02:03:38  车辆[一-鿿]+ car [a-z ]+: .+", line)


def test_no_escape_of_a_device_gets_through() -> None:
    line = Teller("UTC", colour=False).line(event("alarm.raised", "a/b/c", kind="fire", place="\x1b[2J", text="\x9b\n"))
    assert line is not None
    assert line.isprintable()


@given(some.sampled_from(["alarm.new", "gate.new", "access.new", "unheard.of", "panel.operation"]))
def test_an_event_of_another_kind_is_no_trouble(kind: str) -> None:
    line = Teller("UTC", colour=True).line(event(kind))
    assert line is None or "\n" not in line


async def test_the_demo_itself() -> None:
    async with terminal("demo", "--for", "42s", rows=200, columns=200) as it:
        await it.shows("finding: nightly/camera:yard")
        await it.shows("沪A0119应急")  # 16 s behind the round, which looks three times 5 s apart
        assert await it.end() == 0
    assert not it.screen.unknown
    lines = [line for line in it.screen.lines if re.match(r"\d\d:\d\d:\d\d  ", line)]
    assert all(LINE.match(line) for line in lines), lines
    text = it.screen.text
    assert re.search(r"hydrant-1: pressure 0\.(12|35) MPa", text)
    assert re.search(r"巡检发现问题 finding: nightly/point:hydrant-1.pressure \(below\)", text)
    assert re.search(r"巡检发现问题 finding: nightly/camera:yard \(covered\)", text)
    assert re.search(r"巡检结束 round: nightly: 正常 normal \d, 异常 abnormal \d", text)
    assert "temperature-1 24 °C" in text
    fire, held, car = (
        next(at for at, line in enumerate(lines) if words in line)
        for words in ("火警 FIRE", "gate held open", "沪A0119应急")
    )
    assert fire < held < car
    assert "杆 arm" in lines[held]
    after = text[text.index("What to try next") :]
    assert "simulate config/example.yaml --out sim.yaml" in after or "example.yaml --out sim.yaml" in after
    looks = set(re.findall(r"\x1b\[([0-9;]*)m", it.written.decode())) - {"0"}
    assert len(looks) == 4
    for look in looks:
        colour = _luminance(int(look.rpartition(";")[2]))
        assert (colour + 0.05) / 0.05 >= 3, "on black"
        assert 1.05 / (colour + 0.05) >= 3, "on white"


def running_on(folder: str) -> list[str]:
    """Command lines of processes that name the folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [line for line in found if folder in line]


async def test_a_demo_whose_terminal_is_closed_leaves_nothing_behind() -> None:
    # These tests may run where SIGHUP is ignored, as under nohup.
    demo = ("env", "--default-signal=HUP", sys.executable, "-m", "gateway", "demo")
    async with terminal(command=demo, rows=200, columns=200) as it:
        await it.shows("gateway has started")
        (folder,) = re.findall(r"Site file: (\S+)/site.yaml", it.screen.text)
        assert len(running_on(folder)) == 2, "the gateway and the broker"
        it.process.send_signal(signal.SIGHUP)
        await it.end()
    assert running_on(folder) == []
    assert not Path(folder).exists()


async def test_a_demo_that_is_killed_leaves_no_process_behind() -> None:
    """A gateway that went on would speak on the terminal of whoever gets the number of its pty next."""
    async with terminal("demo", rows=200, columns=200) as it:
        await it.shows("gateway has started")
        (folder,) = re.findall(r"Site file: (\S+)/site.yaml", it.screen.text)
        assert len(running_on(folder)) == 2, "the gateway and the broker"
        it.process.kill()
        await it.end()
    try:
        async with asyncio.timeout(10):
            while running_on(folder):
                await asyncio.sleep(0.05)
    finally:
        shutil.rmtree(folder)


def _luminance(number: int) -> float:
    """Of one of xterm's 6x6x6 colours, relative to white (WCAG 2.2)."""
    levels = (0, 95, 135, 175, 215, 255)
    red, green, blue = (levels[(number - 16) // step % 6] / 255 for step in (36, 6, 1))
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in (red, green, blue)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
