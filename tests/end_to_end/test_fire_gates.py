"""A fire opens the gates, without broker and cloud and through a full bus, and nothing but people ends that."""

import asyncio
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from gateway.local.control import NAME, ask
from tests.end_to_end.compound import Compound, compound
from tests.end_to_end.process import running

HOLDS = ("relay-tcp.do2", "relay-bus.do2")
FIRES = ("smoke-1/smoke/fire", "smoke-2/smoke/fire")
HOUR: dict[str, Any] = {"for": "1h"}
WITHIN = 1.0
"""Seconds from the answer that confirms a fire to the order on the wire."""


async def fire(it: Compound) -> None:
    """Two devices of one zone."""
    it.virtual.set("smoke-1.smoke", 1)
    await it.until_standing(FIRES[0])
    assert not it.on(HOLDS[0]), "one device opens nothing"
    it.virtual.set("smoke-2.smoke", 1)
    await it.until(lambda: it.on(*HOLDS))


async def first_requests(it: Compound, line: str) -> list[str]:
    """Unit and function code of what the gateway sent first on a line since it started."""
    path = it.folder / "store" / NAME
    told: Any = await asyncio.to_thread(ask, path, {"ask": "frames", "line": line, "since": 0.0})
    start = 0 if told["bus"] else 12
    return [data[start : start + 4] for way, _, data in told["pieces"] if way == ">"]


async def do(it: Compound, *arguments: str) -> tuple[int, str]:
    """`site-gateway do` as a guard types it: exit status and what it prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "do", str(it.site), *arguments, "--by", "zhang",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def test_a_fire_holds_the_gates_until_people_release_them(tmp_path: Path) -> None:
    async with compound(tmp_path, persistence="true", persistence_location=f"{tmp_path}/") as it:
        async with running(it.site) as gateway:
            await it.cloud.until(lambda seen: bool(seen.of("gateway.started")))
            await it.broker.stop()
            await fire(it)
            await ordered_in_time(it)
            await held_whatever_happens_to_the_output(it)
            await it.broker.start()
            await it.cloud.until(lambda seen: len(seen.of("gate.held")) == 2)
            await held_whatever_the_cloud_sends(it)
            await gateway.kill()

        before = len(it.virtual.writes)
        async with running(it.site) as gateway:
            await it.until(lambda: len({one.device for one in [*it.virtual.writes][before:]}) == 2)
            assert (await first_requests(it, "gate-io"))[0] == "0105", "the hold goes before everything else"
            asked = await first_requests(it, "loop")
            assert asked[:2] == ["0901", "0905"], "of a bus it must be known first whether its adapter echoes"
            assert it.on(*HOLDS)
            await released_by_people(it)
            assert (await gateway.stop())[0] == 0

    assert {event["data"]["cause"] for event in it.cloud.of("gate.held")} == {"fire"}
    assert {stream for _, stream in it.cloud.gaps()} <= {"telemetry"}


async def test_a_version_that_is_installed_during_a_fire_runs_once_the_gates_are_released(tmp_path: Path) -> None:
    """The package had asked before the fire began; now its last script asks whether the service may be restarted."""
    async with compound(tmp_path) as it, running(it.site) as gateway:
        await it.cloud.until(lambda seen: len(seen.of("gateway.started")) == 1)
        assert await it.asked("restart") == {"interlocked": None}, "it may: nothing happens by itself"
        await fire(it)
        await it.until(lambda: it.on(*HOLDS))
        assert await it.asked("restart") == {"interlocked": "a fire stands"}
        await released_by_people(it)
        assert await gateway.wait() == 0, "the service manager starts it again, by what was installed"
        await gateway.start()
        await it.cloud.until(lambda seen: len(seen.of("gateway.started")) == 2, 20)
        (stopping,) = it.cloud.of("gateway.stopping")
        assert stopping["data"]["reason"] == "another version is installed"
        assert it.cloud.of("gateway.started")[1]["time"] >= max(event["time"] for event in it.cloud.of("gate.released"))
        assert (await gateway.stop())[0] == 0


async def ordered_in_time(it: Compound) -> None:
    """Both holds and the sounder, measured from the answer that confirmed the second fire."""
    standing = await it.until_standing(*FIRES)
    raised = datetime.fromisoformat(standing[FIRES[1]]["raised_at"]).timestamp()
    confirmed = raised - time.time() + time.monotonic()
    await it.until(lambda: it.on("relay-tcp.do3"))
    for output in (*HOLDS, "relay-tcp.do3"):
        device, _, point = output.partition(".")
        late = it.written(device, point)[0].mono - confirmed
        assert late < WITHIN, f"{output}: {late * 1000:.1f} ms"


async def held_whatever_happens_to_the_output(it: Compound) -> None:
    """Turned off by hand, and with the board away for a while."""
    for output in HOLDS:
        at = it.virtual.set(output, False)
        await it.until(lambda output=output: it.on(output), 4.0)  # type: ignore[misc]
        device, _, point = output.partition(".")
        assert it.written(device, point, at)[0].mono - at < 2.0, "supervised every second"
    it.virtual.silence("relay-tcp")
    it.virtual.set(HOLDS[0], False)
    await it.until_standing("relay-tcp/silent")
    it.virtual.restore("relay-tcp")
    await it.until(lambda: it.on(HOLDS[0]), 10.0)


async def held_whatever_the_cloud_sends(it: Compound) -> None:
    """Every command that could let a gate go."""
    standing = await it.until_standing(*FIRES)
    codes = [
        (await it.command("gate.release", gate="north", reason="x"))["error"]["code"],
        (await it.command("alarm.reset", alarm=standing[FIRES[0]]["alarm"], note="x"))["error"]["code"],
        (await it.command("write", it.every_key, point=HOLDS[0], value=False))["error"]["code"],
        (await it.command("device.disable", it.every_key, device="smoke-1", **HOUR))["error"]["code"],
        (await it.command("config.apply", it.every_key, file="version: 1", trial="10s"))["error"]["code"],
    ]
    assert codes == ["interlocked", "not-allowed", "interlocked", "interlocked", "interlocked"]
    opened = await it.command("gate.open", gate="north", reason="x")
    assert opened["result"]["decision"] == "held-open", "a pulse is absorbed"
    shelved = await it.command("alarm.shelve", device="smoke-1.smoke.fire", note="x", **HOUR)
    assert shelved["ok"], "that quiets people only"
    for device, point in (output.split(".") for output in HOLDS):
        assert {one.values for one in it.written(device, point)} == {(1,)}, "nothing wrote false"
    assert it.written("relay-tcp", "do1") == [], "no pulse either"


async def released_by_people(it: Compound) -> None:
    """Each fire is reset with its detector quiet, then each gate is released, on site."""
    standing = await it.until_standing(*FIRES)
    status, said = await do(it, "gate.release", "gate=north", "reason=too early")
    assert (status, "interlocked" in said) == (2, True)
    for name, subject in zip(("smoke-1", "smoke-2"), FIRES, strict=True):
        it.virtual.set(f"{name}.smoke", 0)
        reply = await it.person("alarm.reset", alarm=standing[subject]["alarm"], note="seen")
        assert reply["ok"], reply
    await it.until(lambda: not it.on("relay-tcp.do3"))
    assert it.on(*HOLDS), "held after fire"
    assert not (await it.command("gate.release", gate="north", reason="x"))["ok"], "from afar only by fire.release"
    status, said = await do(it, "gate.release", "gate=north", "reason=over")
    assert (status, "commanded=idle" in said) == (0, True), said
    await it.until(lambda: not it.on(HOLDS[0]))
    assert it.on(HOLDS[1]), "gate by gate"
    assert (await it.person("gate.release", gate="south", reason="over"))["ok"]
    await it.until(lambda: not it.on(HOLDS[1]))
    await it.cloud.until(
        lambda seen: (
            [one["data"]["sub"] for one in seen.of("command.done") if one["data"]["cmd"] == "gate.release"]
            == ["zhang", "zhang"]
        )
    )


async def test_a_store_that_is_lost_while_gates_are_held(tmp_path: Path) -> None:
    async with compound(tmp_path) as it:
        it.virtual.set(HOLDS[0], True)
        async with running(it.site):
            standing = await it.until_standing("held-unknown")
            assert standing["held-unknown"]["kind"] == "gate"
            await it.cloud.until(lambda seen: bool(seen.of("gate.held")))
            assert it.cloud.of("gate.held")[0]["data"]["cause"] == "unknown"
            assert [one.values for one in it.virtual.writes if one.value is False] == [], "nothing lets go of it"
            assert (await it.person("gate.release", gate="north", reason="nobody knows"))["ok"]
            await it.until(lambda: not it.on(HOLDS[0]))
