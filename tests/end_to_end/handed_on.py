"""The gateway, watched while data pass through it: in which files a function is given one of them, or gives it back.

    FOLLOWED=what.json python -m tests.end_to_end.handed_on run site.yaml

`what.json`: by name `{"marks": [text, …], "bytes": [hex, …], "numbers": […], "from": folder, "until": topic}`. A call
of ours whose arguments, or whose result, hold a mark is on the way of that datum; the way begins in that folder and
ends when a message that holds one is published on a topic that ends so. What a step of the site decides for a datum
(orders and their points) goes on as that datum. Written beside `what.json` as `NAME.way`, a line `FILE FUNCTION` a
first call, once the way has ended.
"""

import json
import os
import sys
import threading
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = f"{Path(__file__).parents[2]}/"
_DEEP = 6
_LONG = 64


class Datum:
    """One datum that is followed."""

    def __init__(self, name: str, spec: Mapping[str, Any], folder: Path) -> None:
        self.name = name
        self.texts = tuple(spec["marks"])
        self.bytes = tuple(bytes.fromhex(one) for one in spec["bytes"])
        self.numbers = frozenset(spec["numbers"])
        self.begins = spec["from"]
        self.until = spec["until"]
        self.orders: set[str] = set()
        self.points: set[str] = set()
        """What an order is known by until it is on the wire."""
        self.way: dict[str, str] = {}
        self.over = False
        self._file = folder / f"{name}.way"

    def is_in(self, value: object, deep: int = 0) -> bool:
        """Whether a value holds the datum. Only data are looked into, never what rooms and tasks hold."""
        match value:
            case str():
                return value in self.orders or value in self.points or any(mark in value for mark in self.texts)
            case bytes() | bytearray():
                return any(mark in value for mark in self.bytes)
            case memoryview():
                return self.is_in(bytes(value))
            case bool() | None:
                return False
            case int() | float():
                return value in self.numbers
        if deep >= _DEEP:
            return False
        return any(self.is_in(one, deep + 1) for one in _parts(value))

    def passes(self, file: str, function: str) -> None:
        """Note a call."""
        if self.way or file.startswith(self.begins):
            self.way.setdefault(file, function)

    def end(self) -> None:
        """It is published."""
        self.over = True
        fresh = self._file.with_suffix(".new")
        fresh.write_text("".join(f"{file} {function}\n" for file, function in self.way.items()))
        fresh.rename(self._file)


def _parts(value: object) -> list[object]:
    if isinstance(value, dict):
        return [*value.values(), *value] if len(value) <= _LONG else []
    if isinstance(value, tuple | list | set | frozenset):
        return [*value] if len(value) <= _LONG else []
    if is_dataclass(value) and not isinstance(value, type) and vars(type(value))["__dataclass_params__"].frozen:
        return [getattr(value, field.name, None) for field in fields(value)]
    return []


class Follower:
    """The profile function."""

    def __init__(self, data: list[Datum]) -> None:
        self._data = data
        self._lock = threading.local()

    def __call__(self, frame: FrameType, event: str, arg: object) -> None:
        code = frame.f_code
        name = code.co_filename
        if event not in ("call", "return") or not name.startswith(ROOT) or getattr(self._lock, "busy", False):
            return
        file = name.removeprefix(ROOT)
        if not file.startswith(("gateway/", "drivers/")) or code.co_name == "<module>":
            return
        self._lock.busy = True
        try:
            for datum in self._data:
                if not datum.over:
                    self._look(datum, frame, file, event, arg)
        finally:
            self._lock.busy = False

    def _look(self, datum: Datum, frame: FrameType, file: str, event: str, arg: object) -> None:
        code = frame.f_code
        if event == "return":
            if datum.is_in(arg):
                datum.passes(file, code.co_name)
            if (file, code.co_name) == ("gateway/site/site.py", "step") and datum.is_in(frame.f_locals["item"]):
                self._go_on(datum, arg)
            return
        count = code.co_argcount + code.co_kwonlyargcount
        given = {name: frame.f_locals.get(name) for name in code.co_varnames[:count] if name not in ("self", "cls")}
        if any(map(datum.is_in, given.values())):
            datum.passes(file, code.co_name)
            if file.startswith("drivers/modbus/") and any(isinstance(one, bytes) for one in given.values()):
                datum.points.clear()
            topic = given.get("topic")
            if (
                file.startswith("gateway/cloud/mqtt/")
                and code.co_name == "publish"
                and str(topic).endswith(datum.until)
            ):
                datum.end()

    @staticmethod
    def _go_on(datum: Datum, effects: object) -> None:
        for effect in effects if isinstance(effects, list) else ():
            for name, carried in (("order", datum.orders), ("point", datum.points)):
                if isinstance(mark := getattr(effect, name, None), str):
                    carried.add(mark)


def main() -> None:
    """Watch the command line's program."""
    spec = Path(os.environ["FOLLOWED"])
    data = [Datum(name, one, spec.parent) for name, one in json.loads(spec.read_text(encoding="utf-8")).items()]
    follower = Follower(data)
    threading.setprofile(follower)
    sys.setprofile(follower)
    from gateway.cli import main as run  # noqa: PLC0415 - what it imports is watched

    run()


if __name__ == "__main__":
    main()
