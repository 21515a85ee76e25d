"""The ways of docs/architecture.md: which files a datum passes from the wire to its PUBLISH, in a gateway that runs."""

import asyncio
import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.camera_site import PLATES, camera_site
from tests.end_to_end.compound import HEAD
from tests.end_to_end.process import running

MOST = {"register": 40, "telemetry": 24, "plate": 48, "command": 41}
"""Files; one or two more than usual, as a checkpoint of the store or a retained message may come in between."""
HOT, COUNT = 1260203071, 1209019183
PLATE = "沪A12345"
JTI = "followed-to-its-reply"
COIL, ANOTHER_COIL = 0x1A2B, 0x1A2D
SITE = f"""\
{HEAD}lines:
  io: {{driver: modbus, tcp: "127.0.0.1:1"}}
  meters: {{driver: modbus, tcp: "127.0.0.1:2"}}
devices:
  relay:
    line: io
    unit: 1
    points:
      lane-a: {{at: coil {COIL}, write: true, every: 1h}}
      lane-b: {{at: coil {ANOTHER_COIL}, write: true, every: 1h}}
  oven:
    line: meters
    unit: 2
    points:
      heat: {{at: holding 0, type: uint32, every: 1s, alarms: {{hot: {{kind: overtemperature, above: 1000}}}}}}
  meter:
    line: meters
    unit: 3
    points: {{count: {{at: holding 0, type: uint32, every: 1s}}}}
gates:
  north: {{open: relay.lane-a, pulse: 200ms, on_loss: keep}}
  south: {{open: relay.lane-b, pulse: 200ms, on_loss: keep}}
cameras:
  lpr: {{gate: north, direction: in, address: 192.0.2.1, driver: hikvision}}
http: {{cameras: {{listen: '127.0.0.1:1'}}}}
access: {{lists: [residents.csv]}}
"""


def marks(
    *texts: str, numbers: tuple[int, ...] = (), raw: tuple[bytes, ...] = (), begins: str, until: str
) -> dict[str, Any]:
    said = [text.encode(code) for text in texts for code in ("utf-8", "gb18030")]
    numbered = [one for number in numbers for one in (str(number).encode(), number.to_bytes(4, "big"))]
    return {
        "marks": list(texts),
        "numbers": list(numbers),
        "bytes": [one.hex() for one in (*said, *numbered, *raw)],
        "from": begins,
        "until": until,
    }


def in_base64(text: str) -> tuple[bytes, ...]:
    """The text as it stands within base64, wherever it begins."""
    return tuple(base64.urlsafe_b64encode(b"x" * skip + text.encode())[4:-4] for skip in range(3))


def switched_on(coil: int) -> bytes:
    """As the request on the wire has it."""
    return coil.to_bytes(2, "big") + b"\xff\x00"


FOLLOWED = {
    "register": marks(numbers=(HOT,), begins="drivers/modbus/", until="/alarm"),
    "telemetry": marks(numbers=(COUNT,), begins="drivers/modbus/", until="/telemetry"),
    "plate": marks(PLATE, raw=(switched_on(COIL),), begins="drivers/anpr/", until="/access"),
    "command": marks(
        JTI, raw=(*in_base64(JTI), switched_on(ANOTHER_COIL)), begins="gateway/cloud/mqtt/", until="/reply"
    ),
}


async def followed(folder: Path) -> Mapping[str, list[str]]:
    """Each datum once through a gateway; the files of its way, in the order of the first call."""
    (folder / "what.json").write_text(json.dumps(FOLLOWED), encoding="utf-8")
    begin = f"import os; os.environ['FOLLOWED'] = {str(folder / 'what.json')!r}"
    program = ("-c", f"{begin}\nfrom tests.end_to_end.handed_on import main; main()", "run")
    async with camera_site(folder, SITE, PLATES) as cameras, running(cameras.it.site, program):
        it = cameras.it
        await cameras.ready()
        for device in ("relay", "oven", "meter"):
            await it.until_well(device)
        it.virtual.set("meter.count", COUNT)
        await it.until((folder / "telemetry.way").exists)
        it.virtual.set("oven.heat", HOT)
        await it.until((folder / "register.way").exists)
        nonce = it.cloud.latest["status"]["data"]["nonce"]
        await it.cloud.command("gate.open", {"gate": "south"}, signer=it.signer, jti=JTI, nonce=nonce)
        await it.until((folder / "command.way").exists)
        await cameras.sees("lpr", PLATE)
        await it.until((folder / "plate.way").exists)
    return {name: [line.split()[0] for line in (folder / f"{name}.way").read_text().splitlines()] for name in FOLLOWED}


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, list[str]]:
    return asyncio.run(followed(tmp_path_factory.mktemp("ways")))


@pytest.mark.parametrize("name", FOLLOWED)
def test_no_way_gets_longer(name: str, ways: Mapping[str, list[str]], record_property: Any) -> None:
    record_property("way", ways[name])

    assert len(ways[name]) <= MOST[name], "\n".join(ways[name])
