"""The incidents of `config/scenarios`, played on the example site against the real gateway, quicker than in life."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from gateway.config.load import load
from simulators import scenario as scenarios
from simulators.cloud import Cloud
from simulators.proxy import Proxy
from simulators.site import VirtualSite
from tests.end_to_end.process import running
from tests.mosquitto import mosquitto

CONFIG = Path(__file__).parents[2] / "config"
QUICKER = 4.0
HOLDS = ("relay-north.do2", "relay-north.do4")


@dataclass
class Stage:
    """The example site, its cloud, and what was told before and after the broker went away."""

    virtual: VirtualSite
    cloud: Cloud
    way: Proxy
    away: int = 0
    """Events that had arrived when the broker came back."""

    def uplink(self, up: bool) -> None:
        if up:
            self.away = len(self.cloud.events)
            self.way.restore()
        else:
            self.way.refuse()

    async def play(self, name: str) -> None:
        whole = scenarios.load(CONFIG / "scenarios" / f"{name}.yaml")
        # Cars are another story, and their cameras have their own pace.
        steps = tuple(replace(step, at=step.at / QUICKER, cars=()) for step in whole.steps)
        await scenarios.play(self.virtual, replace(whole, steps=steps), self.uplink)

    def writes(self, output: str) -> list[object]:
        device, _, point = output.partition(".")
        return [one.value if one.point == point else None for one in self.virtual.writes if one.device == device]

    async def until(self, reached: Callable[[], bool], within: float = 15.0) -> None:
        async with asyncio.timeout(within):
            while not reached():
                await asyncio.sleep(0.02)


@asynccontextmanager
async def stage(folder: Path) -> AsyncIterator[Stage]:
    real = folder / "real.yaml"
    text = (CONFIG / "example.yaml").read_text()
    real.write_text(text.replace("hold: relay-north.do2,", "hold: relay-north.do2, opens_within: 1s,"))
    (folder / "residents.csv").write_bytes((CONFIG / "residents.csv").read_bytes())
    loaded = load(real)
    assert loaded.site is not None, loaded.problems
    async with mosquitto(folder) as broker, Proxy(broker.port) as way, VirtualSite(loaded.site) as virtual:
        site = folder / "site.yaml"
        virtual.write_site(real, site, broker_url=f"mqtt://127.0.0.1:{way.port}", store_path=folder / "store")
        async with asyncio.TaskGroup() as group:
            cloud = Cloud(broker.port)
            listening = group.create_task(cloud.run(), name="cloud")
            await cloud.until(lambda seen: seen.connections > 0)
            async with running(site):
                await cloud.until(lambda seen: bool(seen.of("gateway.started")))
                yield Stage(virtual, cloud, way)
            listening.cancel()


def on(virtual: VirtualSite) -> bool:
    return all(virtual.value(output) is True for output in HOLDS)


async def test_a_fire_in_building_3_at_night_with_the_cloud_away(tmp_path: Path) -> None:
    async with stage(tmp_path) as it, asyncio.TaskGroup() as group:
        playing = group.create_task(it.play("building-3-at-night"), name="scenario")
        await it.until(lambda: on(it.virtual))
        assert not it.cloud.of("gate.held"), "the broker is away"
        await playing
        await it.cloud.until(lambda seen: len(seen.of("gate.held")) == 2 and bool(seen.of("alarm.cleared")))

        back = it.cloud.events[it.away :]
        fires = [one for one in back if one["type"].endswith("alarm.raised.v1") and one["data"]["kind"] == "fire"]
        assert [one["data"]["device"] for one in fires] == ["smoke-3-2f", "smoke-3-3f"]
        assert [one["data"]["first_out"] for one in fires] == [True, False]
        assert {one["data"]["gate"] for one in it.cloud.of("gate.held")} == {"north-in", "north-out"}
        assert not it.cloud.gaps()
        assert on(it.virtual), "clear, and not reset: nothing ends by itself"
        assert False not in [value for output in HOLDS for value in it.writes(output)]
        stands = {one["device"] for one in it.cloud.latest["alarm/active"]["data"]["alarms"] if one["kind"] == "fire"}
        assert stands == {"smoke-3-2f", "smoke-3-3f"}


async def test_the_relay_sticks_and_the_gate_does_not_rise(tmp_path: Path) -> None:
    async with stage(tmp_path) as it, asyncio.TaskGroup() as group:
        playing = group.create_task(it.play("relay-sticks"), name="scenario")
        await it.cloud.until(lambda seen: bool(seen.of("gate.stuck")))
        (stuck,) = [one for one in it.cloud.of("alarm.raised") if one["data"]["name"] == "gate-stuck"]
        assert stuck["data"]["severity"] == "critical"
        assert it.virtual.value("relay-north.do4") is True, "the other gate does not wait for it"
        await playing
        await it.until(lambda: on(it.virtual))
        await it.cloud.until(lambda seen: any(one["data"]["name"] == "gate-stuck" for one in seen.of("alarm.cleared")))

        tried = [one for one in it.virtual.writes if one.device == "relay-north" and one.address == 1]
        assert len(tried) >= 3, "written again each second"
        assert all(one.values == (1,) for one in tried)
