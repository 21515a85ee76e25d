"""`write`: through the daemon, directly, and what is refused."""

import re
from pathlib import Path

import pytest

from gateway.config.point_owners import uses
from gateway.config.points import Point
from gateway.errors import ConfigError, GatewayError
from gateway.local.control import NAME, ask
from gateway.technician.points import write_once
from gateway.technician.write_guard import Interlocked, agrees, must_fit, parse, writable_point
from tests.technician.command import site_gateway
from tests.technician.yard import BUS, GATES, HEAD, site_file, virtual, watched


async def test_directly_written_and_read_back(tmp_path: Path) -> None:
    async with virtual(tmp_path) as (path, site):
        switched = await site_gateway("write", path, "relay.do4", "true")
        level = await site_gateway("write", path, "limit.level", "--", "-1.5")

        assert site.value("relay.do4") is True
        assert site.value("limit.level") == pytest.approx(-1.5)
    assert (switched.status, switched.out) == (0, "relay.do4: wrote true, reads back true (GOOD)\n")
    assert (level.status, level.out) == (0, "limit.level: wrote -1.5, reads back -1.5 m (GOOD)\n")


async def test_through_the_running_gateway(tmp_path: Path) -> None:
    async with watched(tmp_path) as (path, site):
        ended = await site_gateway("write", path, "relay.do4", "true")
        again = await site_gateway("write", path, "relay.do4", "false")

        assert [(it.device, it.point, it.value) for it in site.writes] == [
            ("relay", "do4", True),
            ("relay", "do4", False),
        ]
        with pytest.raises(GatewayError, match="outside"):
            ask(tmp_path / "store" / NAME, {"ask": "write", "device": "limit", "point": "level", "value": 99999})
        watching = await site_gateway("status", path)
    assert (ended.status, ended.out) == (0, "relay.do4: wrote true, reads back true (GOOD)\n")
    assert again.status == 0
    assert "line bus: up" in watching.out


async def test_a_silent_device_is_an_error(tmp_path: Path) -> None:
    async with virtual(tmp_path) as (path, site):
        site.silence("relay")
        ended = await site_gateway("write", path, "relay.do4", "true")

    assert ended.status == 2
    assert ended.err.startswith("relay.do4: ")


async def test_a_write_that_reads_back_otherwise_is_said(tmp_path: Path) -> None:
    async with virtual(tmp_path) as (path, site):
        device = site.device("limit")
        answer = device.answer
        # A device that takes every write and keeps its old value.
        device.answer = lambda pdu, now: pdu if pdu[0] == 6 else answer(pdu, now)  # type: ignore[method-assign]
        ended = await site_gateway("write", path, "limit.level", "3")

    assert ended.status == 2
    assert "the device took the write, but reads otherwise" in ended.err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("relay.do1", "true"), "interlocked: relay.do1 belongs to gate north (open)"),
        (("relay.do2", "true"), "interlocked: relay.do2 belongs to linkage fire (set)"),
        (("relay.do3", "true"), "interlocked: relay.do3 belongs to the annunciator (fault)"),
        (("relay.di1", "true"), "relay.di1 has no `write`; of relay may be written: do1 do2"),
        (("relay.do9", "true"), "relay has no point 'do9'"),
        (("relais.do1", "true"), "there is no device 'relais'"),
        (("relay.do4", "on"), "found 'on'; true or false"),
        (("limit.level", "high"), "found 'high'; a number"),
        (("limit.level", "9"), "`valid`"),
        (("limit.level", "nan"), "a finite number"),
    ],
)
def test_refusals(tmp_path: Path, words: tuple[str, str], text: str) -> None:
    _, file = site_file(tmp_path, HEAD + BUS + GATES)

    with pytest.raises(ConfigError, match=re.escape(text)):
        write_once(file, *words)


async def test_a_refusal_on_the_command_line(tmp_path: Path) -> None:
    path, _ = site_file(tmp_path, HEAD + BUS + GATES)

    ended = await site_gateway("write", path, "relay.do1", "true")

    assert (ended.status, ended.out) == (2, "")
    assert ended.err == "relay.do1: interlocked: relay.do1 belongs to gate north (open)\n"


async def test_the_daemon_itself_refuses_what_is_interlocked(tmp_path: Path) -> None:
    async with watched(tmp_path, HEAD + BUS + GATES) as (_, site):
        with pytest.raises(GatewayError, match=r"interlocked: relay\.do1 belongs to gate north"):
            ask(tmp_path / "store" / NAME, {"ask": "write", "device": "relay", "point": "do1", "value": True})
        assert site.writes == []


def test_every_user_of_a_point_is_known(tmp_path: Path) -> None:
    _, file = site_file(tmp_path, HEAD + BUS + GATES)

    assert dict(uses(file)) == {
        "relay.do1": "gate north (open)",
        "relay.do2": "linkage fire (set)",
        "relay.do3": "the annunciator (fault)",
    }
    assert writable_point(file, "relay", "do4").at == ("coil", 3)
    with pytest.raises(Interlocked):
        writable_point(file, "relay", "do1")


def point(**keys: object) -> Point:
    return Point.model_validate({"at": "holding 0", "write": True, **keys})


def test_words_and_numbers_are_read_as_the_point_means_them() -> None:
    assert parse(point(values={"0": "off", "1": "on"}), "on") == 1
    assert parse(point(), "0x1F") == 31
    assert parse(point(), "3.0") == 3
    assert parse(point(type="text:4"), "3.0") == "3.0"


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        ({}, -1), ({}, 65536), ({}, True), ({}, "x"), ({"type": "int16", "scale": 0.1}, 3277),
        ({"type": "bcd16"}, 10000), ({"type": "text:2"}, "西马"), ({"type": "text:2"}, 1), ({"type": "float32"}, 1e39),
        ({"type": "float64"}, float("inf")), ({"values": {"0": "off"}}, 1), ({"type": "bool"}, 1),
        ({"valid": [0, 10]}, 11),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(keys: dict[str, object], value: bool | float | str) -> None:
    with pytest.raises(ConfigError):
        must_fit(point(**keys), value)


def test_read_back_agrees_within_half_a_step() -> None:
    assert agrees(point(scale=0.1), 1.23, {"value": 1.2})
    assert not agrees(point(scale=0.1), 1.23, {"value": 1.3})
    assert not agrees(point(), 1, {"value": None})
    assert agrees(point(type="bool"), True, {"value": True})
    assert not agrees(point(type="bool"), True, {"value": False})
