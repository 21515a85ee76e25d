"""Finds the devices on a line: baud rate, parity, framing and unit ids, by reading only.

Every unit is first asked for holding register 0; an exception is an answer too. Likely ids and common settings come
first, and the first setting with an answer is kept. Then silent units are asked for the other tables, because some
devices ignore requests for tables that they do not have. Time-outs shrink to the first answer times; a unit that
answers later is noticed while others are asked, and asked again with a longer time-out.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gateway.driver import Block, Poller, Traced
from gateway.errors import DeviceRefused, DeviceSilent, LineDown
from gateway.local.trace import NOBODY, TracedExchange, exchanges
from gateway.technician.scan_line import TABLES, Setting, Target, first_words

SETTINGS = (
    Setting(9600), Setting(4800), Setting(9600, "even"), Setting(19200), Setting(2400), Setting(115200),
    Setting(19200, "even"), Setting(38400), Setting(57600), Setting(9600, "odd"), Setting(1200),
)  # fmt: skip
"""The most common first. A device with two stop bits is received with one."""
FRAMINGS = (Setting(framing="tcp"), Setting(framing="rtu"))
_LIKELY = 16
"""Unit ids up to this one are tried at every setting before the others."""
_PATIENT_S = 0.6
FIRST_BUS_S, FIRST_TCP_S = 0.1, 0.3
"""Time-outs before the first answer, beyond the wire time."""
_LEAST_S = 0.05
_MARGIN_S = 0.02
"""Allowance for an adapter's latency timer."""
_STEPS = 4
"""A late answer may be from one of this many previous units."""


@dataclass(slots=True)
class Found:
    """A unit that answered."""

    unit: int
    setting: Setting
    seconds: float
    """Its answer time beyond the wire time."""
    words: dict[str, str] = field(default_factory=dict)
    """Tables whose address 0 returned a value."""


class Shown(Protocol):
    """Shows the progress to a person."""

    def tell(self, done: int, of: int, doing: str) -> None:
        """Show the number of requests done and expected, and the present activity."""
        ...

    def say(self, line: str) -> None:
        """Print a line."""
        ...


class Scan:
    """One scan. `found` fills while `run` runs, so that an interrupted scan is still useful."""

    def __init__(
        self,
        target: Target,
        settings: Sequence[Setting],
        units: Sequence[int],
        *,
        everything: bool = False,
        timeout: float | None = None,
        shown: Shown,
    ) -> None:
        self.found: dict[tuple[int, Setting], Found] = {}
        self._target = target
        self._settings = list(settings)
        self._units = list(units)
        self._everything = everything
        self._first = timeout
        self._shown = shown
        self._slowest: float | None = None
        self._asked: set[tuple[Setting, str, int]] = set()
        self._useless: dict[Setting, str] = {}
        """Settings that the port does not support -> reason."""
        self._noise: set[tuple[int, Setting]] = set()

    async def run(self) -> None:
        """Search. Raises LineDown if the line cannot be opened at all."""
        likely = [unit for unit in self._units if unit <= _LIKELY]
        others = [unit for unit in self._units if unit > _LIKELY]
        for tables in (TABLES[:1], TABLES[1:]):
            for units in (likely, others):
                if units:
                    await self._all_settings(units, tables)
            if self._useless and len(self._useless) == len(self._settings):
                raise LineDown("; ".join(dict.fromkeys(self._useless.values())))
        for unit, setting in sorted(self._noise, key=lambda one: one[0]):
            if (unit, setting) not in self.found:
                self._shown.say(
                    f"unit {unit}: something answers at {setting}, but damaged: two devices with that id, or another "
                    "baud rate, or a wiring fault"
                )

    async def _all_settings(self, units: Sequence[int], tables: Sequence[str]) -> None:
        for setting in list(self._settings):
            if setting not in self._useless:
                await self._through(setting, units, tables)
            if self.found and not self._everything:
                answering = {one.setting for one in self.found.values()}
                self._settings = [one for one in self._settings if one in answering]
                return

    async def _through(self, setting: Setting, units: Sequence[int], tables: Sequence[str]) -> None:
        """Try one setting completely, even if a converter closes the connection at some unit."""
        while True:
            asked = len(self._asked)
            try:
                await self._pass(setting, units, tables)
            except LineDown as error:
                if len(self._asked) == asked:
                    self._useless[setting] = str(error)
                    self._shown.say(f"not at {setting}: {error}")
                    return
                self._shown.say(f"line lost: {error}; going on")
                continue
            return

    async def _pass(self, setting: Setting, units: Sequence[int], tables: Sequence[str]) -> None:
        """Ask these units once at this setting, doubtful ones a second time."""
        silent = [unit for unit in units if (unit, setting) not in self.found]
        if all((setting, table, unit) in self._asked for table in tables for unit in silent):
            return
        async with first_words(self._target, setting, silent) as poller:
            blocks = {(block.device, point): block for block in poller.blocks() for point in block.points}
            for table in tables:
                doubtful: set[int] = set()
                before: list[int] = []
                for unit in silent:
                    if (unit, setting) in self.found or (setting, table, unit) in self._asked:
                        continue
                    self._asked.add((setting, table, unit))
                    self._progress(setting, unit)
                    if not await self._ask(poller, setting, unit, blocks[str(unit), table], self._timeout(setting)):
                        doubtful |= {unit, *before}
                    before = [*before, unit][-_STEPS:]
                for unit in sorted(doubtful):
                    if (unit, setting) not in self.found:
                        await self._ask(poller, setting, unit, blocks[str(unit), table], _PATIENT_S)
            for unit in silent:
                if (unit, setting) in self.found:
                    await self._look_around(poller, self.found[unit, setting], blocks)

    async def _ask(self, poller: Poller, setting: Setting, unit: int, block: Block, timeout: float) -> bool:
        """Do one read. False if the received bytes are not an answer: late or damaged."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        word = None
        try:
            word = (await poller.read(block, timeout)).hex()
        except DeviceRefused:
            pass  # it answers
        except DeviceSilent:
            heard = _last(poller, began, setting)
            code = heard.answer.exception if heard is not None and heard.answer is not None else None
            if code is None or code in NOBODY:
                if heard is not None and heard.verdict == "garbled":
                    self._noise.add((unit, setting))
                return heard is None or not (heard.stray or heard.verdict == "garbled")
        self._lives(unit, setting, max(0.0, loop.time() - began - block.wire), block.points[0], word)
        return True

    def _lives(self, unit: int, setting: Setting, seconds: float, table: str, word: str | None) -> None:
        self._slowest = max(self._slowest or 0.0, min(seconds, _PATIENT_S))
        one = self.found.get((unit, setting))
        if one is None:
            one = self.found[unit, setting] = Found(unit, setting, seconds)
            self._shown.say(f"unit {unit} answers at {setting} after {seconds * 1000:.0f} ms")
        if word is not None:
            one.words[table] = word

    async def _look_around(self, poller: Poller, found: Found, blocks: dict[tuple[str, str], Block]) -> None:
        """Find which other tables of a unit return a value at address 0."""
        for table in TABLES:
            if table not in found.words:
                await self._ask(poller, found.setting, found.unit, blocks[str(found.unit), table], _patience(found))

    def _timeout(self, setting: Setting) -> float:
        first = self._first or (FIRST_BUS_S if self._target.serial is not None else FIRST_TCP_S)
        if self._slowest is None or not setting.is_bus:
            return first
        return min(first, max(_LEAST_S, 3 * self._slowest + _MARGIN_S))

    def _progress(self, setting: Setting, unit: int) -> None:
        done = sum(asked[0] in self._settings for asked in self._asked)
        once = len(self._units) * len(self._settings)
        again = bool(self.found) or done > once
        self._shown.tell(done, once * (len(TABLES) if again else 1), f"{setting}, unit {unit}")


def units_of(text: str) -> Iterator[int]:
    """Parse `1-16,31` into numbers 1 to 255. Raises ValueError."""
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not (first.isdecimal() and (last.isdecimal() or not dash)):
            raise ValueError("units as in 1-247, or 1,5,20-30")
        numbers = range(int(first), int(last or first) + 1)
        if not numbers or numbers[0] < 1 or numbers[-1] > 255:
            raise ValueError("1 to 255, the lower first; 0 is the broadcast, which every device obeys")
        yield from numbers


def _patience(found: Found) -> float:
    return max(0.1, 4 * found.seconds + _MARGIN_S)


def _last(poller: Poller, since: float, setting: Setting) -> TracedExchange | None:
    """The traffic of the last request."""
    if not isinstance(poller, Traced):
        return None
    heard = exchanges([piece for piece in poller.frames if piece[1] >= since], bus=setting.is_bus)
    return heard[-1] if heard else None
