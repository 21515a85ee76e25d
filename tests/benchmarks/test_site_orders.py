"""From the confirming answer of a fire, and from a published command, to the write on the wire.

On Modbus TCP, and on a 9600 baud bus that is asked for more than it can carry. Every figure stands beside a floor of
the same run: what the libraries alone, or the wire alone, take for the same.
"""

import asyncio
import socket
import time
from pathlib import Path

import aiomqtt
from pymodbus.client import AsyncModbusTcpClient

from tests.benchmarks.bare import store_and_publish
from tests.benchmarks.measure import median, quantile
from tests.end_to_end.compound import Compound, compound
from tests.end_to_end.process import running

ROOT = "site-gateway/v1/xima-xincun/xmxc-01"
FIRES = 8
ORDERS = 40
HELD = {"tcp": "relay-tcp.do2", "rtu 9600": "relay-bus.do2"}
GATES = {"tcp": "north", "rtu 9600": "south"}
FRAME = 8 * 10 / 9600
"""Seconds that the eight bytes of one write take at 9600 baud 8N1."""
_TURN, _LATE = 0.005, 0.01
"""Seconds: a look at this loop's own lag, and from when on a figure is not the gateway's."""
_ALARMS = ("smoke-1/smoke/fire", "smoke-2/smoke/fire")


class Lag:
    """How late this loop itself is: what it measured then is not the gateway's."""

    def __init__(self) -> None:
        self._late: list[tuple[float, float]] = []

    async def watch(self) -> None:
        while True:
            begun = time.monotonic()
            await asyncio.sleep(_TURN)
            now = time.monotonic()
            if now - begun - _TURN > _LATE:
                self._late.append((begun, now))

    def spoilt(self, begun: float, ended: float) -> bool:
        return any(since <= ended and until >= begun for since, until in self._late)


def asked_at(it: Compound, name: str) -> list[float]:
    """When the device was asked, from now on: the last byte of each request."""
    device = it.virtual.device(name)
    times: list[float] = []
    answer = device.answer

    def noted(pdu: bytes, now: float) -> bytes:
        times.append(now)
        return answer(pdu, now)

    setattr(device, "answer", noted)  # noqa: B010 - a method, for this one device
    return times


async def over(it: Compound) -> None:
    """People put everything back."""
    for device in ("smoke-1", "smoke-2"):
        it.virtual.set(f"{device}.smoke", 0)
    standing = await it.until_standing(*_ALARMS)
    for name in _ALARMS:
        assert (await it.person("alarm.reset", alarm=standing[name]["alarm"], note="over"))["ok"]
    for gate in GATES.values():
        assert (await it.person("gate.release", gate=gate))["ok"]
    await it.until(lambda: not any(it.virtual.value(output) for output in HELD.values()))


async def bare_write(it: Compound) -> float:
    """Seconds of one write with the library alone, to the same unit on another connection."""
    address = it.virtual.addresses["gate-io"]
    async with AsyncModbusTcpClient("127.0.0.1", port=int(address.rpartition(":")[2])) as client:
        took = []
        for number in range(ORDERS):
            begun = time.monotonic()
            await client.write_coil(4, bool(number % 2), device_id=1)
            took.append(it.virtual.writes[-1].mono - begun)
    return median(took)


def show(what: str, times: list[float], floor: float, of: str) -> None:
    print(  # noqa: T201
        f"\n{what}: p50 {median(times) * 1e3:.1f} ms, p99 {quantile(times, 0.99) * 1e3:.1f} ms of {len(times)}; "
        f"{median(times) / floor:.1f}x {of} ({floor * 1e3:.2f} ms)"
    )


async def test_a_hold_is_on_the_wire_within_a_second_of_its_confirmation(tmp_path: Path) -> None:
    """The wait for the second read is the field's; this is what comes after its last byte was asked for."""
    took: dict[str, list[float]] = {name: [] for name in HELD}
    async with compound(tmp_path) as it, running(it.site):
        await it.cloud.until(lambda seen: bool(seen.of("gateway.started")))
        floor = {"tcp": await bare_write(it), "rtu 9600": FRAME}
        asked = asked_at(it, "smoke-2")
        for _ in range(FIRES):
            it.virtual.set("smoke-1.smoke", 1)
            await it.until_standing(_ALARMS[0])
            asked.clear()
            since = it.virtual.set("smoke-2.smoke", 1)
            await it.until(lambda: it.on(*HELD.values()))
            confirmed = [at for at in asked if at >= since][1]
            for name, output in HELD.items():
                device, _, point = output.partition(".")
                took[name].append(it.written(device, point, since)[0].mono - confirmed)
            await over(it)
    for name, times in took.items():
        show(f"confirming answer -> hold, {name}, full bus", times, floor[name], "the write alone")
        assert quantile(times, 0.99) <= 1.0


async def ordered(it: Compound, hand: aiomqtt.Client, cmd: str, gate: str, output: str) -> tuple[float, float]:
    """When a command was sent, and the seconds to its write; its reply is awaited."""
    device, _, point = output.partition(".")
    claims = it.signer.claims(cmd, {"gate": gate}, nonce=it.cloud.latest["status"]["data"]["nonce"])
    token = it.signer.sign(claims)
    begun = time.monotonic()
    await hand.publish(f"{ROOT}/command", token, qos=1)
    await it.until(lambda: bool(it.written(device, point, begun)))
    await it.until(lambda: claims["jti"] in it.cloud.replies)
    return begun, it.written(device, point, begun)[0].mono - begun


async def test_an_opening_is_on_the_wire_in_time(tmp_path: Path) -> None:
    """A command, from its publishing: verified, committed, written; with a dead unit on the bus."""
    took: dict[str, list[float]] = {name: [] for name in HELD}
    spoilt: dict[str, list[float]] = {name: [] for name in HELD}
    lag = Lag()
    quick = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
    async with compound(tmp_path, set_tcp_nodelay="true") as it, running(it.site):
        await it.cloud.until(lambda seen: "status" in seen.latest)
        commits = await asyncio.to_thread(store_and_publish, tmp_path / "bare", it.broker.port, ORDERS)
        floor = median(commits) + await bare_write(it)
        it.virtual.silence("meter-1")
        async with (
            aiomqtt.Client("127.0.0.1", it.broker.port, socket_options=quick) as hand,
            asyncio.TaskGroup() as group,
        ):
            watching = group.create_task(lag.watch(), name="lag")
            for number in range(ORDERS):
                for name, gate in GATES.items():
                    cmd = ("gate.hold", "gate.release")[number % 2]
                    begun, seconds = await ordered(it, hand, cmd, gate, HELD[name])
                    (spoilt if lag.spoilt(begun, begun + seconds) else took)[name].append(seconds)
            watching.cancel()
    for name, most in (("tcp", 0.05), ("rtu 9600", 0.4)):
        show(f"command -> write, {name}", took[name], floor, "one commit, one PUBACK and one write")
        if spoilt[name]:
            show("  while this loop itself was late", spoilt[name], floor, "of that")
        assert len(took[name]) >= ORDERS / 2, "too busy a machine"
        assert quantile(took[name], 0.99) <= most
