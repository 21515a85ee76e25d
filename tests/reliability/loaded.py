"""A site under load: points that chatter, two detectors of a zone, a gate that opens by fire; the gateway is a process.

    async with registers() as wire, site_of(folder, wire, broker_port) as path, running(path) as gateway, chatter(wire):
        late = await fire(wire)

What is measured is between two bytes on the wire: the answer that showed the second fire, the write of the hold.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.end_to_end.process import GatewayProcess
from tests.reliability.served import Registers

CHATTER = 60
FIRES = (100, 110)
HOLD = 1
_SITE = """\
version: 1
site: {{id: xima-xincun}}
gateway: xmxc-01
uplink: {{url: "mqtt://127.0.0.1:{broker}"}}
lines: {{loop: {{driver: modbus, tcp: "127.0.0.1:{modbus}"}}}}
zones: {{b3: {{}}}}
devices:
  smoke-1: {{line: loop, unit: 2, kind: smoke-detector, zone: b3, points: {{smoke: {{at: holding 100, every: 100ms,
    alarms: {{fire: {{kind: fire, equals: 1}}}}}}}}}}
  smoke-2: {{line: loop, unit: 3, kind: smoke-detector, zone: b3, points: {{smoke: {{at: holding 110, every: 100ms,
    alarms: {{fire: {{kind: fire, equals: 1}}}}}}}}}}
  relay: {{line: loop, unit: 4, kind: relay, points: {{do1: {{at: coil 0, write: true}},
    do2: {{at: coil 1, write: true}}}}}}
  cellar:
    line: loop
    kind: gas-detector
    points:
{points}
gates:
  north: {{open: relay.do1, hold: relay.do2, on_loss: keep}}
linkage:
  evacuation: {{hold: [north]}}
store: {{path: {store}, max_size: 64MiB, alarm_reserve: 1MiB}}
"""
_POINT = "      p{n}: {{at: holding {n}, every: 100ms, alarms: {{{name}: {{kind: {kind}, equals: 1}}}}}}"


def write_site(folder: Path, wire: Registers, broker: int, *, kind: str = "gas", more: str = "") -> Path:
    """The site file; `kind`: of the alarms that chatter."""
    points = "\n".join(_POINT.format(n=n, name=f"{kind}-of-cellar", kind=kind) for n in range(CHATTER))
    path = folder / "site.yaml"
    text = _SITE.format(broker=broker, modbus=wire.port, points=points, store=folder / "store")
    path.write_text(text + more)
    return path


@asynccontextmanager
async def chatter(wire: Registers, every: float = 0.1) -> AsyncIterator[None]:
    """All points of the cellar change each `every` seconds meanwhile."""

    async def flip() -> None:
        value = 0
        while True:
            value = 1 - value
            for address in range(CHATTER):
                wire.set(address, value)
            await asyncio.sleep(every)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(flip(), name="chatter")
        yield
        task.cancel()


async def fire(wire: Registers, within: float = 10.0) -> float:
    """Two detectors of the zone: seconds from the answer that showed the second to the hold on the wire."""
    before = len(wire.coils.get(HOLD, ()))
    for address in FIRES:
        wire.set(address, 1)
    async with asyncio.timeout(within):
        while len(wire.coils.get(HOLD, ())) == before:
            await asyncio.sleep(0.01)
    shown = max(one.at for one in wire.log if one.address in FIRES and one.value == 1)
    at, value = wire.coils[HOLD][before]
    assert value, "a hold, and no release"
    return at - shown


def resident(gateway: GatewayProcess) -> int:
    """Bytes of memory that the process holds."""
    return int(Path(f"/proc/{gateway.pid}/statm").read_text(encoding="ascii").split()[1]) * 4096


async def until_shed(gateway: GatewayProcess, stream: str, within: float = 90.0) -> None:
    """Wait until it says that events of the stream had to go. Raises TimeoutError."""
    async with asyncio.timeout(within):
        while not any(
            "events were shed" in line and f'"{stream}"' in line for line in gateway.log.read_text().splitlines()
        ):
            await asyncio.sleep(0.2)
