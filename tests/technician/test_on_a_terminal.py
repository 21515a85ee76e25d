"""Commands as people see them: in a real terminal of 80x24, on a site whose names are Chinese; and the shell's Tab."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256

from simulators.site import VirtualSite
from tests.end_to_end.process import running
from tests.technician.command import site_gateway
from tests.technician.terminal import shown, terminal
from tests.technician.yard import virtual

HEAD = """\
version: 1
site: {id: xima, name: 西马新村, timezone: Asia/Shanghai}
gateway: gw
uplink: {url: "mqtt://127.0.0.1:1"}
"""
LINES = """\
lines:
  net: {driver: modbus, tcp: "127.0.0.1:1", in_flight: 8}
  bus: {driver: modbus, serial: /dev/rs485-xima, baudrate: 9600}
"""
ZONES = "zones: {b3: {name: 3号楼}, b4: {name: 4号楼}}\n"
DEVICES = """\
devices:
  board:
    line: net
    unit: 9
    points: {do1: {at: coil 0, write: true, every: 1s}, do2: {at: coil 1, write: true, every: 1s}}
  smoke-3-2f: {profile: generic-smoke-detector, line: net, unit: 2, zone: b3, place: 3号楼2层走廊}
  smoke-3-3f: {profile: generic-smoke-detector, line: net, unit: 3, zone: b3, place: 3号楼3层走廊}
  tank: {line: bus, unit: 7, place: 消防水池, points: {level: {at: holding 10, write: true, every: 1s}}}
"""
GATES = "gates: {north: {name: 北门入口, open: board.do1, hold: board.do2, on_loss: keep}}\n"
CAMERAS = """\
cameras: {lpr-north: {driver: generic, gate: north, direction: in, address: 127.0.0.1}}
http: {cameras: {listen: "0.0.0.0:8080"}}
access: {unknown: deny}
"""
SITE = HEAD + LINES + ZONES + DEVICES + GATES + CAMERAS
LINKAGE = "linkage: {fire: {zones: [b3], trigger: two-devices, hold: [north]}}\n"
FIRE = "smoke-3-2f/smoke/fire"


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[tuple[Path, VirtualSite]]:
    """A gateway that runs and has heard of its devices."""
    async with virtual(tmp_path, SITE) as (path, devices), running(path):
        async with asyncio.timeout(20):
            while (await site_gateway("read", path, "tank")).status != 0:
                pass
        yield path, devices


async def said(*words: str | Path) -> tuple[int, str]:
    """What stands on a terminal when the command has ended: status and text, without colours."""
    status, it = await shown(*words)
    assert it.screen.unknown == []
    return status, re.sub(r"\x1b\[[0-9;]*m", "", it.written.decode()).replace("\r\n", "\n")


async def until_said(*words: str | Path, shows: str) -> str:
    """Ask again until it says so."""
    async with asyncio.timeout(20):
        while shows not in (text := (await said(*words))[1]):
            pass
    return text


# ---- check ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("right", "wrong", "words"),
    [
        ("trigger: two-devices", "trigger: and", "two-devices: two detectors of one zone must be in fire"),
        ("trigger: two-devices", "trigger: and", "'and' is written two-devices here"),
        ("trigger: two-devices", "trigger: one", "'one' is written any here"),
        ("{id: xima, name", "{id: xima，name", "found the full-width '，'; ','"),
        ("zones: {b3", "zones： {b3", "found the full-width '：'"),
        ("gateway: gw", "gateway： gw", "found the full-width '：'"),
        ("  net: {driver", "\u3000net: {driver", "a full-width blank (U+3000)"),
        ("  net: {driver", "\tnet: {driver", "found a tab; spaces for indentation"),
        ("  bus: {driver", "   bus: {driver", "found an indentation of 3"),
        ("Asia/Shanghai", "Asia/Beijing", "for all of China it is 'Asia/Shanghai'"),
        ("unit: 2, zone", "zone", "is missing; without it unit 1 is meant"),
    ],
)
async def test_check_names_what_is_wrong(tmp_path: Path, right: str, wrong: str, words: str) -> None:
    text = SITE.replace("unit: 9", "unit: 1") + LINKAGE
    assert text.count(right) == 1
    path = tmp_path / "站点.yaml"
    path.write_text(text.replace(right, wrong))
    status, found = await said("check", path)
    assert (status, words in found) == (1, True), found
    assert "did you mean 'any'" not in found
    assert "北门入口" not in found
    *_, last = found.splitlines()
    assert re.fullmatch(r"[1-9]\d* errors, \d+ warnings", last)


async def test_check_hints_at_another_baud_rate_than_the_profiles(tmp_path: Path) -> None:
    text = SITE.replace(
        "{profile: generic-smoke-detector, line: net, unit: 3", "{profile: jdrk-rs-yg-n01, line: bus, unit: 3"
    )
    path = tmp_path / "site.yaml"
    path.write_text(text)
    status, found = await said("check", path)
    assert status == 0, found
    assert "devices.smoke-3-3f" in found
    assert "4800 baud" in found
    assert re.fullmatch(r"0 errors, [1-9]\d* warnings", found.splitlines()[-1])


async def test_check_reads_the_files_that_are_named(tmp_path: Path) -> None:
    """A private key where the public one belongs, a certificate that has ended, a list that is not UTF-8."""
    pair = generate_private_key(SECP256R1())
    private = pair.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ca")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        name, name, pair.public_key(), 1, now - timedelta(days=9), now - timedelta(days=1)
    )
    (tmp_path / "ca.pem").write_bytes(builder.sign(pair, SHA256()).public_bytes(serialization.Encoding.PEM))
    (tmp_path / "cloud.pem").write_bytes(private)
    (tmp_path / "居民.csv").write_bytes("plate,kind\n沪A12345,resident\n".encode("gbk"))
    site = SITE.replace('{url: "mqtt://127.0.0.1:1"}', '{url: "mqtts://127.0.0.1:1", tls: {ca: ca.pem}}')
    site = site.replace("{unknown: deny}", "{unknown: deny, lists: [居民.csv]}")
    (tmp_path / "site.yaml").write_text(site + "commands: {keys: [{id: cloud, ed25519: cloud.pem}]}\n")
    status, text = await said("check", tmp_path / "site.yaml")
    assert status == 1
    for words in ("found a PRIVATE key in cloud.pem", "found a certificate in ca.pem that ended on", "is not UTF-8"):
        assert words in text
    assert "BEGIN" not in text


# ---- what stands, and what happened -----------------------------------------------------------------


async def test_alarms_status_and_events(site: tuple[Path, VirtualSite]) -> None:
    path, devices = site
    assert (await until_said("alarms", path, shows="nothing stands")) == "nothing stands\n"
    devices.set("smoke-3-2f.smoke", 1)
    row = (await until_said("alarms", path, shows=FIRE)).splitlines()[0]
    told = datetime.strptime(row[:19], "%Y-%m-%d %H:%M:%S").replace(tzinfo=ZoneInfo("Asia/Shanghai"))
    assert abs((datetime.now(UTC) - told).total_seconds()) < 60
    assert "3号楼2层走廊" in row
    status, done = await said("do", path, "alarm.acknowledge", f"alarm={FIRE}", "note=看过了", "--by", "张师傅")
    assert (status, done.startswith("done")) == (0, True), done
    assert (await said("do", path, "alarm.silence", "--by", "张师傅")) == (0, "done\n")

    status, text = await said("status", path)
    assert status == 0
    assert re.match(r"clock: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \(Asia/Shanghai\)", text)
    assert "gate north: idle" in text
    assert "camera lpr-north: " in text

    events = await until_said("events", path, "--last", "5", shows="alarm.acknowledged")
    assert "张师傅" in events
    async with terminal("events", path, "--follow", "--last", "1") as following:
        await following.shows("alarm.acknowledged")
        devices.set("smoke-3-3f.smoke", 1)
        await following.shows("smoke-3-3f/smoke/fire", "3号楼3层走廊")
        following.process.send_signal(signal.SIGINT)
        assert await following.end() == 0


async def test_do_without_a_command_lists_what_can_be_done() -> None:
    status, text = await said("do")
    assert status == 0
    assert "gate.open gate=NAME [reason=TEXT]" in text.splitlines()
    assert "alarm.silence" in text.splitlines()


# ---- the wire ---------------------------------------------------------------------------------------


async def test_no_line_of_a_running_gateway_is_scanned_and_read_and_write_go_through_it(
    site: tuple[Path, VirtualSite],
) -> None:
    path, devices = site
    for words in (("--tcp", devices.addresses["net"]), ("--serial", devices.addresses["bus"])):
        status, text = await said("scan", *words)
        assert status == 2
        assert "gateway" in text
        assert "owns it" in text or "is in use by process" in text
    for target in ("tank.level", "board.do1"):
        status, text = await said("read", path, target)
        assert (status, "GOOD" in text) == (0, True), text
    assert (await said("write", path, "tank.level", "5"))[0] == 0
    assert devices.value("tank.level") == 5
    status, text = await said("write", path, "board.do1", "1")
    assert (status, "north" in text) == (2, True), "a gate uses it"


async def test_a_device_at_another_baud_rate_is_found_with_progress(tmp_path: Path) -> None:
    async with virtual(tmp_path, SITE) as (path, devices):
        devices.wrong_baud("tank", 4800)
        status, text = await said("read", path, "tank.level")
        assert (status, "GOOD" in text) == (2, False)
        bauds = ("--baud", "9600,4800", "--parity", "none")
        async with terminal("scan", "--serial", devices.addresses["bus"], "--units", "6-8", *bauds) as scanning:
            assert await scanning.end() == 0
        assert "━" in scanning.written.decode(), "a progress bar"
        rows = scanning.screen.lines
        assert "━" not in scanning.screen.text, "which is gone in the end"
        assert any(row.startswith("unit 7 answers at 4800 8N1 after ") for row in rows), rows
        assert "  unit-7: {line: bus, unit: 7}" in rows


async def test_doctor_prints_the_clock_and_what_answers(site: tuple[Path, VirtualSite]) -> None:
    path, _ = site
    status, text = await said("doctor", path)
    assert status == 1, "no broker runs here"
    assert re.search(r"clock: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \(Asia/Shanghai\)", text)
    assert "good  line net: 3 devices answer" in text
    assert "good  line bus: 1 device" in text


async def test_forty_equal_warnings_are_one_line(tmp_path: Path) -> None:
    heat = "kind: heat-detector, points: {hot: {at: discrete 1, every: 4s, alarms: {fire: {equals: true}}}}"
    devices = "".join(
        f"  heat-{n}: {{line: net, unit: {n}, zone: b3, place: 走廊{n}, {heat}}}\n" for n in range(10, 50)
    )
    path = tmp_path / "site.yaml"
    path.write_text(HEAD + LINES.replace("in_flight: 8", "in_flight: 32") + ZONES + "devices:\n" + devices)
    _, text = await said("check", path)
    found = [line for line in text.splitlines() if "site.yaml:" in line and "heat-" in line]
    assert len(found) == 1, text
    assert "the same 39 times more" in text.replace("\n", " ")


async def test_help_has_no_mark_of_the_library() -> None:
    for words in ((), ("check",), ("do",), ("scan",), ("walk",), ("access", "show")):
        status, text = await said(*words, "--help")
        assert status == 0
        assert "\\b" not in text
        assert "\b" not in text


async def test_a_plate_is_shown_for_itself_and_no_longer_one(tmp_path: Path) -> None:
    path, plates = tmp_path / "site.yaml", tmp_path / "residents.csv"
    path.write_text(SITE + f"store: {{path: {tmp_path / 'store'}}}\n")
    plates.write_text("plate,kind,from,until,gates,note\n沪AD12345,resident,,,,三号楼住户\n")
    assert (await said("access", "import", path, plates))[0] == 0
    assert "三号楼住户" in (await said("access", "show", path, "沪AD12345"))[1]
    assert "三号楼住户" not in (await said("access", "show", path, "沪AD1234"))[1]


# ---- the shell --------------------------------------------------------------------------------------


async def test_the_tab_key_completes_devices_and_zones(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(SITE)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    async with terminal(
        command=("bash", "--norc", "--noprofile", "-i"), PATH=path, PS1="> ", HOME=str(tmp_path)
    ) as shell:
        await shell.shows(">")
        shell.press(f"cd {tmp_path}\r")
        shell.press('eval "$(_SITE_GATEWAY_COMPLETE=bash_source site-gateway)"; echo re""ady\r')
        await shell.shows("ready")
        for typed, completed in (
            ("site-gateway read site.yaml tan\t", "site.yaml tank"),
            ("site-gateway read site.yaml smoke-3-2f.\t", "smoke-3-2f.smoke"),
            ("site-gateway walk site.yaml --zone b\t\t", "b3  b4"),
            ("site-gateway do site.yaml gate.rel\t", "gate.release"),
        ):
            shell.press(typed)
            await shell.shows(completed)
            shell.press("\x15")
        shell.press("exit\r")
        assert await shell.end() == 0
