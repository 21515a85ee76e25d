"""The times that the lines keep and the bound reckons with have one home: whoever changes one changes both."""

from collections.abc import Callable
from math import inf

import pytest

from gateway.field import timeouts
from gateway.field.response_time import BlockLoad, DeviceLoad, LineLoad, PointLoad, analyse
from gateway.model import Lane
from tests.field.response_world import World

WIRE = 0.02


def detector(name: str, every: float = 1.0, confirm: int = 2) -> BlockLoad:
    return BlockLoad(name, Lane.ALARM, every, WIRE, (PointLoad(f"{name}.smoke", confirm, WIRE),))


def line(*blocks: BlockLoad, ceiling: float = 1.0) -> LineLoad:
    return LineLoad("bus", blocks, {block.device: DeviceLoad(0.01, ceiling, 0.05) for block in blocks})


RARE_ALARMS = line(detector("dying", every=15.0), detector("well"))
RARE_READS = line(BlockLoad("well", Lane.NORMAL, 600.0, WIRE))
QUICK = line(detector("dying"), detector("well", confirm=60), ceiling=0.06)
SLOW = line(detector("dying"), detector("well", confirm=100), ceiling=0.25)
FULL = line(detector("dying"), detector("well"), *(detector(f"other-{n}", confirm=1) for n in range(20)))


def silence(load: LineLoad) -> tuple[float, float]:
    """When a dead device is told silent: on a running line, and at the worst by the bound."""
    world = World(load, 1)
    world.run(40.0)
    world.bus.dead = "dying"
    died = world.bus.now
    while "dying" not in world.silent:
        world.turn(inf)
    return world.silent["dying"] - died, analyse(load).silent_told["dying"]


def reads(load: LineLoad) -> tuple[float, float]:
    """Requests per second: on a running line, and by the bound."""
    world = World(load, 1)
    world.run(600.0)
    return world.polling.devices["well"].requests / 600.0, analyse(load).requests_per_s


def probes(load: LineLoad) -> tuple[float, float]:
    """Time-outs of a dead device in ten minutes, and the bound of an alarm beside it."""
    world = World(load, 1)
    world.bus.dead = "dying"
    world.run(600.0)
    told = next(alarm.worst_one_dead for alarm in analyse(load).alarms if alarm.point == "well.smoke")
    return world.polling.devices["dying"].timeouts, told


@pytest.mark.parametrize(
    ("name", "other", "figures", "load"),
    [
        ("MISSES", 5, silence, RARE_ALARMS),
        ("MISSED_AGAIN_S", 9.0, silence, RARE_ALARMS),
        ("DEVICE_PERIOD_S", 40.0, reads, RARE_READS),
        ("PROBE_FIRST_S", 40.0, probes, QUICK),
        ("PROBE_SHARE", 400.0, probes, SLOW),
        ("PROBE_LAST_S", 1.0, probes, FULL),
    ],
)
def test_a_change_of_one_moves_the_lines_and_the_bound(
    name: str,
    other: float,
    figures: Callable[[LineLoad], tuple[float, float]],
    load: LineLoad,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    running, bound = figures(load)

    monkeypatch.setattr(timeouts, name, other)
    running_then, bound_then = figures(load)

    assert running_then != running
    assert bound_then != bound
    assert (running_then > running) is (bound_then > bound)
