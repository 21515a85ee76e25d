"""Scenarios: what happens to a virtual site, and when.

    title: A fire in building 3        # optional
    repeat: 60s                        # optional: begins anew after this long, for ever
    steps:
      - {at: 5s, set: {smoke-3-2f.smoke: 1}}
      - {at: 8s, silence: smoke-3-1f}              # one device, or a list
      - {at: 9s, delay: {hydrant-1: 500ms}}
      - {at: 10s, garble: [hydrant-1]}
      - {at: 15s, wrong-baud: {smoke-3-1f: 4800}}  # it hears and answers only at 4800 baud
      - {at: 20s, restore: [hydrant-1, smoke-3-1f]}
      - {at: 30s, line_down: fire-loop}
      - {at: 35s, line_up: fire-loop}
      - {at: 40s, car: {camera: lpr-north-in, plate: 沪A12345, confidence: 97, direction: forward, colour: blue}}
      - {at: 50s, camera_offline: lpr-north-in}    # it sees cars all the same, and tells of them when it is back
      - {at: 60s, camera_online: lpr-north-in}

A car without `plate` has none that could be read; of the rest only `camera` is needed, and `car` may be a list.
      - {at: 70s, look: {yard: covered}}           # what its picture shows: covered, night blurred, hang, normal, …
    (`stick: relay.do1` and `free: relay.do1`: a contact that does not move; `uplink: down`, `uplink: up`: the way to
    the broker, where the one who plays the scenario has one.)

Times count from the beginning. A step may do several things at once.
"""

import asyncio
import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from gateway.arguments import duration
from gateway.config.device import BAUDRATES
from gateway.config.lines import ModbusLine
from gateway.config.problems import Path as Trail
from gateway.config.problems import Problem, plain
from gateway.config.source import Source, SourceError, read
from gateway.errors import ConfigError
from gateway.model import Value
from simulators.cameras.model import Turn
from simulators.cameras.shows import WORDS, unknown_words
from simulators.registers import encode
from simulators.site import VirtualSite

_KEYS: Final = ("title", "repeat", "steps")
_NAMES: Final = (
    "silence", "garble", "restore", "stick", "free", "line_down", "line_up", "camera_offline", "camera_online",
)  # fmt: skip
_ACTIONS: Final = ("set", "delay", "wrong-baud", *_NAMES, "car", "look", "uplink")
_TURNS: Final = ("forward", "reverse")
_COLOURS: Final = ("blue", "yellow", "white", "black", "green", "yellow-green")
_LONGEST: Final = 16


@dataclass(frozen=True, slots=True)
class Car:
    """A car that passes a camera."""

    camera: str
    plate: str | None = None
    """None: none could be read."""
    confidence: float = 97.0
    direction: Turn = "forward"
    colour: str | None = "blue"
    """Of the plate."""


@dataclass(frozen=True, slots=True)
class ScenarioStep:
    """What happens at one moment: seconds from the beginning."""

    at: float
    number: int
    """Its place in the file, from 1."""
    set: Mapping[str, Value] = field(default_factory=dict)
    delay: Mapping[str, float] = field(default_factory=dict)
    silence: tuple[str, ...] = ()
    garble: tuple[str, ...] = ()
    restore: tuple[str, ...] = ()
    line_down: tuple[str, ...] = ()
    line_up: tuple[str, ...] = ()
    camera_offline: tuple[str, ...] = ()
    camera_online: tuple[str, ...] = ()
    cars: tuple[Car, ...] = ()
    stick: tuple[str, ...] = ()
    free: tuple[str, ...] = ()
    uplink: str | None = None
    """`down` or `up`."""
    wrong_baud: Mapping[str, int] = field(default_factory=dict)
    """By device the baud rate at which it hears."""
    look: Mapping[str, str] = field(default_factory=dict)
    """By camera what its picture shows, words of `shows.WORDS`."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """Steps in the order of time; `repeat` seconds after the beginning it begins anew (None: once)."""

    name: str
    steps: tuple[ScenarioStep, ...]
    repeat: float | None = None
    title: str = ""


async def play(site: VirtualSite, scenario: Scenario, uplink: Callable[[bool], None] | None = None) -> None:
    """Play it; with `repeat` until cancelled. Raises ConfigError before, naming every step that does not fit.

    `uplink` takes the way to the broker away (False) and gives it back (True).
    """
    problems = misfits(site, scenario)
    if problems:
        raise ConfigError("\n".join(problems))
    loop = asyncio.get_running_loop()
    begin = loop.time()
    while True:
        for step in scenario.steps:
            await asyncio.sleep(begin + step.at - loop.time())
            _act(site, step)
            if step.uplink is not None and uplink is not None:
                uplink(step.uplink == "up")
        if scenario.repeat is None:
            return
        begin += scenario.repeat
        await asyncio.sleep(begin - loop.time())


def load(path: Path) -> Scenario:
    """Read a scenario file. Raises ConfigError: a line `FILE:LINE:COL: step N: KEY: …` for each mistake."""
    try:
        source = read(path.read_bytes(), path.name)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except SourceError as error:
        raise ConfigError(str(error.problem)) from error
    reading = _Reading(source)
    scenario = reading.scenario()
    if reading.problems:
        reading.problems.sort(key=lambda problem: (problem.line, problem.col))
        raise ConfigError("\n".join(map(str, reading.problems)))
    return scenario


def misfits(site: VirtualSite, scenario: Scenario) -> list[str]:
    """What the scenario asks for and the site does not have, a line each; empty if it can be played."""
    problems: list[str] = []
    lines = {name for name, line in site.site.lines.items() if isinstance(line, ModbusLine)}
    devices = {name for name, device in site.site.devices.items() if device.line in lines}
    for step in scenario.steps:
        where = f"{scenario.name}: step {step.number}"
        of_devices = {"silence": step.silence, "delay": step.delay, "wrong-baud": step.wrong_baud,
                      "garble": step.garble, "restore": step.restore}  # fmt: skip
        for key, names in of_devices.items():
            problems.extend(_unknown_names(f"{where}: {key}", names, "device", devices))
        for key, names in (("line_down", step.line_down), ("line_up", step.line_up)):
            problems.extend(_unknown_names(f"{where}: {key}", names, "Modbus line", lines))
        of_cameras = {
            "look": tuple(step.look), "camera_offline": step.camera_offline, "camera_online": step.camera_online,
        }  # fmt: skip
        for key, names in of_cameras.items():
            problems.extend(_unknown_names(f"{where}: {key}", names, "camera", site.site.cameras))
        plates = [name for name, camera in site.site.cameras.items() if camera.mode is not None]
        cars = [car.camera for car in step.cars]
        problems.extend(_unknown_names(f"{where}: car: camera", cars, "plate camera", plates))
        for key, refs in (("stick", step.stick), ("free", step.free)):
            for ref in refs:
                problems.extend(_unknown_point(site, f"{where}: {key}: {ref}", ref, devices))
        for ref, value in step.set.items():
            problems.extend(_misfit(site, f"{where}: set: {ref}", ref, value, devices))
    return problems


def _misfit(site: VirtualSite, where: str, ref: str, value: Value, devices: Iterable[str]) -> list[str]:
    problems = _unknown_point(site, where, ref, devices)
    if not problems:
        name, _, key = ref.partition(".")
        try:
            encode(site.device(name).points[key], value)
        except ValueError as error:
            problems.append(f"{where}: {error}")
    return problems


def _unknown_point(site: VirtualSite, where: str, ref: str, devices: Iterable[str]) -> list[str]:
    name, _, key = ref.partition(".")
    problems = _unknown_names(where, [name], "device", devices)
    return problems or _unknown_names(where, [key], f"point of {name}", site.device(name).points)


def _unknown_names(where: str, names: Iterable[str], what: str, known: Iterable[str]) -> list[str]:
    known = sorted(known)
    return [f"{where}: no {what} '{name}'{_nearest(name, known)}" for name in names if name not in known]


def _act(site: VirtualSite, step: ScenarioStep) -> None:
    for ref, value in step.set.items():
        site.set(ref, value)
    for device, seconds in step.delay.items():
        site.delay(device, seconds)
    for name, words in step.look.items():
        site.camera(name).look(words)
    for device, baudrate in step.wrong_baud.items():
        site.wrong_baud(device, baudrate)
    actions: tuple[tuple[tuple[str, ...], Callable[[str], None]], ...] = (
        (step.silence, site.silence),
        (step.garble, site.garble),
        (step.restore, site.restore),
        (step.stick, site.stick),
        (step.free, site.free),
        (step.line_down, site.line_down),
        (step.line_up, site.line_up),
        (step.camera_offline, site.camera_offline),
        (step.camera_online, site.camera_online),
    )
    for names, action in actions:
        for name in names:
            action(name)
    for car in step.cars:
        camera = site.camera(car.camera)
        camera.see(car.plate, confidence=car.confidence, direction=car.direction, colour=car.colour)


class _Reading:
    """Makes a scenario of a file's tree and collects what is wrong with it."""

    def __init__(self, source: Source) -> None:
        self.problems: list[Problem] = []
        self._source = source

    def scenario(self) -> Scenario:
        tree = self._source.tree
        self._keys((), tree, _KEYS)
        steps: list[ScenarioStep] = []
        if isinstance(entries := tree.get("steps"), list):
            steps = [self._step(number, entry) for number, entry in enumerate(entries, 1)]
        else:
            self._wrong(("steps",), f"{_found(entries)}; a list of steps, such as {{at: 5s, silence: DEVICE}}")
        steps.sort(key=lambda step: step.at)
        repeat = self._seconds(("repeat",), tree["repeat"]) if "repeat" in tree else None
        if repeat is not None and not self.problems and (repeat <= 0 or (steps and repeat < steps[-1].at)):
            self._wrong(("repeat",), f"found {tree['repeat']!r}; more than 0s, and not before the last step")
        return Scenario(self._source.file, tuple(steps), repeat, str(tree.get("title", "")))

    def _step(self, number: int, entry: Any) -> ScenarioStep:
        path: Trail = ("steps", number - 1)
        if not isinstance(entry, dict):
            self._wrong(path, f"{_found(entry)}; a mapping with `at` and one of {', '.join(_ACTIONS)}")
            return ScenarioStep(0, number)
        self._keys(path, entry, ("at", *_ACTIONS))
        if "at" not in entry:
            self._wrong((*path, "at"), "missing; when it happens, such as 5s")
        if not any(action in entry for action in _ACTIONS):
            self._wrong(path, f"nothing happens; one of {', '.join(_ACTIONS)}")
        at = self._seconds((*path, "at"), entry["at"]) if "at" in entry else 0.0
        names = {key: self._names((*path, key), entry[key]) for key in _NAMES if key in entry}
        values = self._mapping((*path, "set"), entry.get("set", {}), "{DEVICE.POINT: VALUE}")
        for ref, value in values.items():
            if "." not in ref:
                self._wrong((*path, "set", ref), "is no point; DEVICE.POINT", at_key=True)
            if not isinstance(value, bool | int | float | str):
                self._wrong((*path, "set", ref), f"{_found(value)}; a number, a word, true or false")
        delays = self._mapping((*path, "delay"), entry.get("delay", {}), "{DEVICE: 500ms}")
        delay = {device: self._seconds((*path, "delay", device), text) for device, text in delays.items()}
        uplink = entry.get("uplink")
        if uplink not in (None, "down", "up"):
            self._wrong((*path, "uplink"), f"{_found(uplink)}; down or up")
        cars = self._cars((*path, "car"), entry.get("car", []))
        wrong_baud = self._mapping((*path, "wrong-baud"), entry.get("wrong-baud", {}), "{DEVICE: 4800}")
        for device, rate in wrong_baud.items():
            if rate not in BAUDRATES or isinstance(rate, bool):
                self._wrong((*path, "wrong-baud", device), f"{_found(rate)}; {' '.join(map(str, BAUDRATES))}")
        look = self._looks((*path, "look"), entry.get("look", {}))
        return ScenarioStep(
            at, number, values, delay, **names, cars=cars, uplink=uplink, wrong_baud=wrong_baud, look=look
        )  # fmt: skip

    def _looks(self, path: Trail, value: Any) -> dict[str, str]:
        looks = self._mapping(path, value, "{CAMERA: covered}")
        for camera, words in looks.items():
            if not isinstance(words, str) or unknown_words(words):
                self._wrong((*path, camera), f"{_found(words)}; of these words: {' '.join(WORDS)}")
        return looks

    def _cars(self, path: Trail, value: Any) -> tuple[Car, ...]:
        if not isinstance(value, list):
            return (self._car(path, value),)
        return tuple(self._car((*path, place), entry) for place, entry in enumerate(value))

    def _car(self, path: Trail, entry: Any) -> Car:
        known = tuple(_CAR)
        tree = self._mapping(path, entry, "{camera: CAMERA, plate: 沪A12345}")
        if not isinstance(entry, dict):
            return Car("")
        self._keys(path, tree, known)
        if "camera" not in tree:
            self._wrong((*path, "camera"), "missing; which camera sees it")
        for key, (good, allowed) in _CAR.items():
            if key in tree and not good(tree[key]):
                self._wrong((*path, key), f"{_found(tree[key])}; {allowed}")
        fields: dict[str, Any] = {"camera": "", **{key: tree[key] for key in known if key in tree}}
        return Car(**fields)

    def _keys(self, path: Trail, tree: Mapping[str, Any], allowed: tuple[str, ...]) -> None:
        for key in tree:
            if key not in allowed:
                self._wrong((*path, key), f"unknown key; {', '.join(allowed)}{_nearest(key, allowed)}", at_key=True)

    def _seconds(self, path: Trail, text: Any) -> float:
        try:
            return duration(text)
        except ValueError as error:
            self._wrong(path, f"{_found(text)}; {error}")
            return 0.0

    def _names(self, path: Trail, value: Any) -> tuple[str, ...]:
        names = value if isinstance(value, list) else [value]
        if not names or not all(isinstance(name, str) for name in names):
            self._wrong(path, f"{_found(value)}; a name, or a list of names")
            return ()
        return tuple(names)

    def _mapping(self, path: Trail, value: Any, allowed: str) -> dict[str, Any]:
        if isinstance(value, dict):
            return value
        self._wrong(path, f"{_found(value)}; {allowed}")
        return {}

    def _wrong(self, path: Trail, text: str, *, at_key: bool = False) -> None:
        line, col = self._source.place(path, at_key=at_key)
        words = [f"step {int(path[1]) + 1}", *path[2:]] if path[:1] == ("steps",) and len(path) > 1 else path
        self.problems.append(Problem(self._source.file, line, col, ": ".join(map(str, words)), "error", text))


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean '{near[0]}'?" if near else ""


def _is_plate(value: Any) -> bool:
    return value is None or (isinstance(value, str) and 0 < len(value) <= _LONGEST)


def _is_percent(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 100


_CAR: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "camera": (lambda value: isinstance(value, str), "the name of a camera"),
    "plate": (_is_plate, f"1 to {_LONGEST} characters"),
    "confidence": (_is_percent, "a number from 0 to 100"),
    "direction": (lambda value: value in _TURNS, " | ".join(_TURNS)),
    "colour": (lambda value: value in _COLOURS, " | ".join(_COLOURS)),
}
"""Key -> what it must be, in code and in words."""


def _found(value: Any) -> str:
    return "found nothing" if value is None else f"found {plain(str(value))!r}"
