"""`doctor` on virtual sites with one thing wrong at a time."""

import asyncio
import os
import pwd
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import orjson
import pytest

from gateway.local.control import NAME
from gateway.technician.watch import state
from simulators.site import VirtualSite
from simulators.wire import SerialLine
from tests.accounts import as_root
from tests.mosquitto import mosquitto
from tests.technician.command import Ended, site_gateway
from tests.technician.yard import BUS, GATES, HEAD, virtual, watched


@asynccontextmanager
async def with_broker(folder: Path, **options: object) -> AsyncIterator[tuple[Path, VirtualSite]]:
    """A virtual site whose broker is there."""
    async with mosquitto(folder, **options) as broker, virtual(folder) as (path, site):
        path.write_text(path.read_text().replace("mqtt://127.0.0.1:1", f"mqtt://127.0.0.1:{broker.port}"))
        yield path, site


def signs(ended: Ended, about: str) -> list[tuple[str, str, str]]:
    """(level, what, todo) of the findings about one thing."""
    told = orjson.loads(ended.out)
    assert {frozenset(sign) for sign in told} == {frozenset({"about", "level", "what", "todo"})}
    return [(sign["level"], sign["what"], sign["todo"]) for sign in told if sign["about"] == about]


async def test_a_healthy_site_ends_with_zero(tmp_path: Path) -> None:
    async with with_broker(tmp_path) as (path, site):
        ended = await site_gateway("doctor", path)
        assert site.writes == []

    assert ended.status == 0, ended.out
    assert "good  line bus: 4 devices answer; " in ended.out
    assert "lets us in" in ended.out
    assert "wrong" not in ended.out


async def test_a_port_that_is_missing(tmp_path: Path) -> None:
    async with with_broker(tmp_path) as (path, site):
        site.line_down("bus")
        ended = await site_gateway("doctor", path)

    assert ended.status == 1
    assert "wrong line bus: " in ended.out
    assert "bus: no such port\n      -> plug the adapter in, or use its name" in ended.out


@pytest.mark.parametrize(
    ("device", "fault", "level", "what"),
    [
        ("relay", {"garble": "noise"}, "wrong", "two devices have the unit id 1"),
        ("climate", {"silent": True}, "wrong", "climate (unit 2) does not answer"),
        ("climate", {"exception": 2}, "doubt", "climate (unit 2) refuses 'read input 1 x 2': exception 2"),
    ],
)
async def test_one_bad_device_is_named(
    tmp_path: Path, device: str, fault: dict[str, object], level: str, what: str
) -> None:
    async with virtual(tmp_path) as (path, site):
        for key, value in fault.items():
            setattr(site.faults(device), key, value)
        found = signs(await site_gateway("doctor", path, "--json"), "line bus")

    assert [(one, text) for one, text, _ in found if what in text and one == level], found
    assert sum(one == "wrong" for one, _, _ in found) == (level == "wrong")


async def test_an_adapter_with_echo_is_named_and_the_devices_are_good(tmp_path: Path) -> None:
    async with virtual(tmp_path) as (path, site):
        bus = site.line("bus")
        assert isinstance(bus, SerialLine)
        bus.bus.echo = True
        found = signs(await site_gateway("doctor", path, "--json"), "line bus")

    assert [level for level, _, _ in found] == ["doubt", "good"]
    assert "sends back what is sent to it (echo" in found[0][1]


async def test_noise_on_all_and_glitches_are_told_apart(tmp_path: Path) -> None:
    async with virtual(tmp_path) as (path, site):
        for name in ("smoke", "climate", "relay", "limit"):
            site.faults(name).glitch = b"\0"
        floating = signs(await site_gateway("doctor", path, "--json"), "line bus")
        for name in ("smoke", "climate", "limit"):
            site.faults(name).garble = "flip"
            site.faults(name).times = 2
        noisy = signs(await site_gateway("doctor", path, "--json"), "line bus")

    assert [(level, "no bias" in what) for level, what, _ in floating] == [("doubt", True)]
    assert any(level == "wrong" and "damaged (CRC)" in what for level, what, _ in noisy), noisy


async def test_a_dead_line_is_no_wiring_guess_but_a_plain_word(tmp_path: Path) -> None:
    async with virtual(tmp_path) as (path, site):
        for name in ("smoke", "climate", "relay", "limit"):
            site.silence(name)
        found = signs(await site_gateway("doctor", path, "--json"), "line bus")

    assert [(level, what) for level, what, _ in found] == [("wrong", "no device answers, and not a byte comes back")]


async def test_the_running_gateway_is_asked(tmp_path: Path) -> None:
    async with watched(tmp_path) as (path, site):
        site.silence("limit")
        async with asyncio.timeout(20):
            while (await asyncio.to_thread(state, tmp_path / "store" / NAME))["devices"]["limit"][
                "answering"
            ] is not False:
                await asyncio.sleep(0.05)
        ended = await site_gateway("doctor", path, "--json")
        told = signs(ended, "gateway")
        found = signs(ended, "line bus")

    assert told == [("good", "runs; asking it", "")]
    assert any(level == "wrong" and what.startswith("limit ") for level, what, _ in found), found
    assert not any("in use" in what for _, what, _ in found)


async def test_a_refused_login_is_told_and_the_running_client_id_is_left_alone(tmp_path: Path) -> None:
    async with with_broker(tmp_path, allow_anonymous="false") as (path, _):
        found = signs(await site_gateway("doctor", path, "--json"), "broker")

    assert [level for level, _, _ in found] == ["wrong"]
    assert "the broker refused us" in found[0][1]
    assert "gw-doctor" in found[0][1]


async def test_what_is_not_looked_at_is_said_only_where_it_matters(tmp_path: Path) -> None:
    async with virtual(tmp_path, HEAD + BUS + GATES) as (path, _):
        ended = await site_gateway("doctor", path, "--json")

    assert [level for level, _, _ in signs(ended, "gates")] == ["doubt"]
    assert {level for level, _, _ in signs(ended, "store")} <= {"good", "doubt"}


# ---- once, for whom, and when ------------------------------------------------------------------------


DEAD = """\
lines:
  bus: {driver: modbus, serial: /dev/rs485-yard, baudrate: 19200}
devices:
  relay: {profile: waveshare-relay-8ch, line: bus, unit: 1}
  limit: {line: bus, unit: 7, points: {level: {at: holding 10, type: int16, every: 1s}}}
gates: {north: {open: relay.do1, on_loss: keep}}
"""


async def test_a_dead_line_is_named_once(tmp_path: Path) -> None:
    """Its devices and the gates on it say the same thing once more."""
    async with watched(tmp_path, HEAD + DEAD) as (path, site):

        async def answering() -> set[bool | None]:
            told = await asyncio.to_thread(state, tmp_path / "store" / NAME)
            return {device["answering"] for device in told["devices"].values()}

        async with asyncio.timeout(30):
            while await answering() != {True}:
                await asyncio.sleep(0.1)
        site.silence("relay")
        site.silence("limit")
        async with asyncio.timeout(60):
            while await answering() != {False}:
                await asyncio.sleep(0.1)
        ended = await site_gateway("doctor", path)
    told = [line for line in ended.out.splitlines() if line.startswith(("wrong", "doubt"))]
    assert len([line for line in told if "line bus" in line]) == 1, ended.out
    assert "answer" in next(line for line in told if "line bus" in line) or "is down" in ended.out
    assert "fell silent" not in ended.out
    assert "does not say what it would do" not in ended.out


async def test_the_clock_is_printed_in_the_time_of_the_site(tmp_path: Path) -> None:
    text = (HEAD + BUS).replace("site: {id: yard}", "site: {id: yard, timezone: Asia/Shanghai}")
    async with watched(tmp_path, text) as (path, _):
        clock = signs(await site_gateway("doctor", path, "--json"), "clock")
    ((_, what, _),) = clock
    told = datetime.strptime(what[:19], "%Y-%m-%d %H:%M:%S").replace(tzinfo=ZoneInfo("Asia/Shanghai"))
    assert abs((datetime.now(UTC) - told).total_seconds()) < 60
    assert "(Asia/Shanghai)" in what


@as_root
async def test_rights_are_those_of_the_account_that_the_gateway_runs_as(tmp_path: Path) -> None:
    async with with_broker(tmp_path) as (path, _):
        store = tmp_path / "store"
        store.mkdir()
        nobody = pwd.getpwnam("nobody")
        os.chown(store, nobody.pw_uid, nobody.pw_gid)
        ended = await site_gateway("doctor", path)
    assert "runs as root, the gateway as nobody" in ended.out
    assert "the gateway's account nobody may not open it" in ended.out
    assert ended.status == 1
