"""What a module is told of our silence: by whom, when, and what is said if it does not take it."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from gateway.config.load import load
from gateway.config.points import Point
from gateway.config.site import SiteFile
from gateway.errors import DeviceRefused, DeviceSilent
from gateway.model import Input, Instant, OwnHealth, Quality, Reading, Value
from gateway.runtime.on_loss import Losses, amiss, wanted
from gateway.settings import build
from gateway.settings.loss_uses import losses, settings_used
from gateway.settings.plan import findings
from gateway.settings.types import OnLoss
from gateway.site.settings import Ref
from tests.inbox import ShutInbox
from tests.technician.yard import HEAD
from tests.virtual_time import clock, run

NORTH = OnLoss("north", Ref("relay", "do2"), True, 30, 30.0)
TOLD = [("do2/safe", True), ("do2/watchdog", 30)]


class Module(ShutInbox):
    """A line with one module on it, and what it was told."""

    def __init__(self) -> None:
        self.holds: dict[str, Value] = {"do2/safe": False, "do2/watchdog": 0}
        self.answering = self.keeps = True
        self.refuses = self.silent = False
        self.losses = 0
        self.told: list[tuple[str, Value]] = []
        self.told_at: list[float] = []
        self.health: list[OwnHealth] = []

    def snapshot(self) -> SimpleNamespace:
        relay = SimpleNamespace(answering=self.answering)
        return SimpleNamespace(up=True, losses=self.losses, oddities=None, devices={"relay": relay})

    async def fetch(self, device: str, points: tuple[str, ...]) -> dict[str, Reading]:
        assert device == "relay"
        if self.silent:
            raise DeviceSilent("no answer")
        at = Instant(0.0, 0.0, True)
        return {point: Reading(self.holds[point], None, None, Quality.GOOD, None, at) for point in points}

    def remind(self, item: Input) -> None:
        assert isinstance(item, OwnHealth)
        self.health.append(item)

    async def order(self, device: str, point: str, value: Value) -> None:
        assert device == "relay"
        if self.refuses:
            raise DeviceRefused(2)
        self.told.append((point, value))
        self.told_at.append(asyncio.get_running_loop().time())
        if self.keeps:
            self.holds[point] = value


def after(story: Callable[[Module], None], seconds: float, module: Module) -> None:
    """Change something, then let that time pass, in a life of its own."""

    async def life() -> None:
        looking = Losses([NORTH], module, clock(), module)  # type: ignore[arg-type] # as much of a line
        async with asyncio.TaskGroup() as group:
            task = group.create_task(looking.run(), name="on loss")
            await asyncio.sleep(5.0)
            story(module)
            await asyncio.sleep(seconds)
            task.cancel()

    run(life())


def nothing(_module: Module) -> None:
    """The module goes on as it is."""


def test_the_safe_value_goes_before_the_watchdog_and_once() -> None:
    module = Module()
    after(nothing, 600.0, module)

    assert module.told == TOLD
    assert [(one.alarm, one.well) for one in module.health] == [("north/on-loss", True)]


def test_a_module_that_knows_is_not_written() -> None:
    module = Module()
    module.holds = dict(TOLD)
    after(nothing, 600.0, module)

    assert module.told == []
    assert [one.well for one in module.health] == [True]


@pytest.mark.parametrize("noticed", [True, False], ids=["with its line", "unnoticed"])
def test_one_that_lost_its_power_is_told_again(noticed: bool) -> None:
    def forget(module: Module) -> None:
        module.holds = {"do2/safe": False, "do2/watchdog": 0}
        module.losses += noticed

    module = Module()
    after(forget, 2.0 if noticed else 70.0, module)

    assert module.told == [*TOLD, *TOLD]


def test_a_watchdog_alone_that_was_changed_by_hand_is_put_right() -> None:
    module = Module()
    after(lambda module: module.holds.update({"do2/watchdog": 0}), 70.0, module)

    assert module.told == [*TOLD, ("do2/watchdog", 30)]


def test_what_is_not_kept_is_an_alarm_and_is_not_written_without_end() -> None:
    def keep(module: Module) -> None:
        module.keeps = True
        module.losses += 1

    module = Module()
    module.keeps = False
    after(nothing, 86400.0, module)
    assert [(one.alarm, one.well, one.detail) for one in module.health] == [
        ("north/on-loss", False, "relay does not keep do2/safe and do2/watchdog")
    ]
    assert len(module.told) // 2 < 40, "a day of it"

    module.health.clear()
    after(keep, 2.0, module)
    assert [one.well for one in module.health] == [False, True]


def test_a_module_that_refuses_is_an_alarm() -> None:
    module = Module()
    module.refuses = True
    after(nothing, 1.0, module)

    assert [(one.well, "does not take it" in one.detail) for one in module.health] == [(False, True)]


def test_one_that_does_not_answer_is_told_when_it_does() -> None:
    def come(module: Module) -> None:
        assert module.told == []
        assert module.health == []
        module.silent, module.answering = False, True

    module = Module()
    module.silent, module.answering = True, False
    after(come, 2.0, module)
    assert module.told == TOLD

    module.silent = True
    after(nothing, 2.0, module)
    assert module.told == TOLD


def test_amiss_is_in_the_order_of_writing() -> None:
    at = Instant(0.0, 0.0, True)
    bad = Reading(None, None, None, Quality.BAD, None, at)
    assert list(amiss(NORTH, dict.fromkeys(wanted(NORTH), bad))) == ["do2/safe", "do2/watchdog"]


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({}, 1),
        ({"invert": True}, 0),
        ({"loss": {"on": 0xFF}}, 0xFF),
        ({"at": "holding 1", "type": "bool", "write": {"on": 1, "off": 2}}, 1),
        ({"at": "holding 1", "type": "bool", "invert": True, "write": {"on": 1, "off": 2}}, 2),
    ],
)
def test_what_the_safe_value_of_an_open_gate_is(more: dict[str, object], word: int) -> None:
    loss = {"watchdog": "holding 260", "safe": "holding 129", **(more.get("loss") or {})}  # type: ignore[dict-item]
    point = Point.model_validate({"at": "coil 0", "write": True, **more, "loss": loss})

    assert point.safe_on == word


def site(folder: Path, loss: str, on_loss: str = "open", every: str = "1s") -> SiteFile:
    """A gate whose module can be told."""
    path = folder / "site.yaml"
    points = f"{{do1: {{at: coil 0, write: true, every: {every}, loss: {loss}}}}}"
    path.write_text(
        f'{HEAD}lines: {{io: {{driver: modbus, tcp: "127.0.0.1:1"}}}}\n'
        f"devices: {{relay: {{line: io, points: {points}}}}}\n"
        f"gates: {{north: {{open: relay.do1, on_loss: {on_loss}}}}}\n"
    )
    loaded = load(path)
    assert loaded.site is not None, loaded.problems
    return loaded.site


def test_what_the_file_says_is_told(tmp_path: Path) -> None:
    file = site(tmp_path, '{watchdog: "holding 260", safe: "coil 129", after: 20s, tick: 100ms}')

    assert list(losses(file)) == [OnLoss("north", Ref("relay", "do1"), True, 200, 20.0)]
    assert build.settings(file).losses == tuple(losses(file))
    assert settings_used(file).keys() == {"relay.do1/safe", "relay.do1/watchdog"}
    assert settings_used(file).keys() < build.settings(file).interlocked.keys(), "nobody writes them by hand"
    requests = build.requests(file, "io")
    assert {point for block in requests.blocks() for point in block.points} == {"do1"}, "settings are not polled"


def test_keep_tells_nothing(tmp_path: Path) -> None:
    assert list(losses(site(tmp_path, '{watchdog: "holding 260", safe: "coil 129"}', "keep"))) == []


@pytest.mark.parametrize(("after", "refused"), [("30s", False), ("2s", True)])
def test_a_watchdog_that_does_not_outlast_lost_requests_is_refused(tmp_path: Path, after: str, refused: bool) -> None:
    file = site(tmp_path, f'{{watchdog: "holding 260", safe: "coil 129", after: {after}}}')

    texts = [one.text for one in findings(file) if one.path == ("gates", "north", "on_loss")]

    assert len(texts) == refused
    assert all("a longer `after` in its `loss`" in text for text in texts)
