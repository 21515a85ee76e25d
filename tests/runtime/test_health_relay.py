"""The relay that is held while the gateway is well."""

import asyncio

import pytest

from gateway.errors import DeviceSilent
from gateway.model import Value
from gateway.runtime.health_relay import Alive
from gateway.site.settings import Ref
from tests.virtual_time import clock, run


class Relay:
    """A line with one relay; `silent`: it does not answer."""

    def __init__(self) -> None:
        self.silent = False
        self.told: list[tuple[float, Value]] = []

    async def order(self, device: str, point: str, value: Value, expires: float | None = None) -> None:
        assert (device, point) == ("relay", "do8")
        now = asyncio.get_running_loop().time()
        assert expires is not None
        assert expires > now
        if self.silent:
            raise DeviceSilent("no answer")
        self.told.append((now, value))


class Life:
    """A gateway whose health is set by hand."""

    def __init__(self, *, timed: bool) -> None:
        self.relay = Relay()
        self.well = True
        self.alive = Alive(
            Ref("relay", "do8"),
            self.relay,  # type: ignore[arg-type] # as much of a line as it needs
            clock(),
            self,
            timed=timed,
        )

    def is_well(self) -> bool:
        return self.well


@pytest.mark.parametrize(("timed", "on"), [(True, 15.0), (False, True)])
def test_held_dropped_and_told_again(timed: bool, on: Value) -> None:
    async def story() -> list[tuple[float, Value]]:
        life = Life(timed=timed)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(life.alive.run(), name="alive")
            await asyncio.sleep(10.5)
            life.well = False
            await asyncio.sleep(2.0)
            life.well, life.relay.silent = True, True
            await asyncio.sleep(3.0)
            life.relay.silent = False
            await asyncio.sleep(1.0)
            task.cancel()
        return life.relay.told

    told = run(story())

    values = [value for _, value in told]
    assert values == [on, on, on, False, on], "held again each 5 s, dropped at once, held as soon as it answers"
    times = [at - told[0][0] for at, _ in told]
    assert times[1] - times[0] <= 6.0
    assert times[3] <= 11.6
    assert type(values[0]) is type(on)
