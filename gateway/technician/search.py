"""The command `scan`: checks the port, searches, tries the profiles, makes the fragment."""

import asyncio
from collections.abc import Sequence
from typing import Literal, cast, get_args

from gateway.config.device import BAUDRATES
from gateway.config.units import endpoint
from gateway.errors import LineDown
from gateway.technician import ports, taken
from gateway.technician.fragment import fragment
from gateway.technician.profile_match import Guesses, guesses
from gateway.technician.scan import FIRST_BUS_S, FIRST_TCP_S, FRAMINGS, SETTINGS, Found, Scan, Shown, units_of
from gateway.technician.scan_line import NOBODY_DIALS_IN, DialsIn, Setting, Target

_Parity = Literal["none", "even", "odd"]


def wanted(
    serial: str | None,
    tcp: str | None,
    units: str,
    baud: str | None,
    parity: str | None,
    framing: str | None,
    dials_in: DialsIn = NOBODY_DIALS_IN,
) -> tuple[Target, list[Setting], list[int]]:
    """Parse the options. Raises ValueError with a text for people."""
    if [serial, tcp, dials_in.listen].count(None) != 2:
        raise ValueError("exactly one of --serial DEV, --tcp HOST:PORT and --listen HOST:PORT")
    if dials_in.register is not None and dials_in.listen is None:
        raise ValueError("--register belongs to --listen")
    numbers = list(dict.fromkeys(units_of(units)))
    if serial is not None:
        if framing is not None:
            raise ValueError("--framing belongs to --tcp and --listen")
        return Target(serial=ports.steady_name(serial)), _serial(baud, parity), numbers
    if baud is not None or parity is not None:
        raise ValueError("--baud and --parity belong to --serial")
    framings = [one for one in FRAMINGS if framing in (None, one.framing)]
    if dials_in.listen is not None:
        return Target(dials_in=dials_in).checked(), framings, numbers
    endpoint(str(tcp))
    return Target(tcp=tcp), framings, numbers


def _serial(baud: str | None, parity: str | None) -> list[Setting]:
    settings = list(SETTINGS)
    if baud is not None:
        rates = [int(rate) if rate.strip().isdecimal() else 0 for rate in baud.split(",")]
        if any(rate not in BAUDRATES for rate in rates):
            raise ValueError(f"--baud: a speed of serial ports: {' '.join(map(str, BAUDRATES))}")
        settings = [Setting(rate, each) for each in get_args(_Parity) for rate in rates]
    if parity is not None:
        rates = list(dict.fromkeys(setting.baudrate for setting in settings))
        settings = [Setting(rate, cast("_Parity", parity)) for rate in rates]
    return settings


class Search:
    """A scan followed by guesses of profiles."""

    def __init__(
        self,
        target: Target,
        settings: Sequence[Setting],
        units: Sequence[int],
        *,
        everything: bool,
        shown: Shown,
    ) -> None:
        self._target = target
        self._shown = shown
        self._scan = Scan(target, settings, units, everything=everything, shown=shown)
        self._guesses: Guesses = {}
        self._first = _first_look(target, settings, units)

    @property
    def found(self) -> list[Found]:
        """The units that answered."""
        return list(self._scan.found.values())

    def run(self) -> tuple[list[str], bool]:
        """Search; returns failures as lines, and whether it was interrupted. `found` is valid in either case."""
        if self._target.serial is not None:
            trouble = ports.trouble(self._target.serial)
        elif self._target.tcp is not None:
            trouble = taken.trouble(self._target.tcp)
        else:
            trouble = None
        if trouble is not None:
            return [trouble.what, trouble.todo], False
        self._shown.say(self._first)
        try:
            asyncio.run(self._look())
        except LineDown as error:
            return [str(error)], False
        except KeyboardInterrupt:
            return [], True
        return [], False

    async def _look(self) -> None:
        async with self._target.reachable():
            await self._scan.run()
            for at, one in enumerate(self.found):
                self._shown.tell(at, len(self.found), f"unit {one.unit}: which profile?")
                known = await guesses(self._target, one.setting, one.unit, one.seconds)
                self._guesses[one.unit, one.setting] = known

    def fragment(self) -> str:
        """The result as a piece of a site file."""
        return fragment(self._target, self.found, self._guesses)


def _first_look(target: Target, settings: Sequence[Setting], units: Sequence[int]) -> str:
    """What will be done, and how long its first part takes if nothing answers."""
    each = FIRST_BUS_S if target.serial is not None else FIRST_TCP_S
    wire = sum(16 * 11 / setting.baudrate for setting in settings if target.serial is not None)
    longest = len(units) * (len(settings) * each + wire)
    known = ", ".join(map(str, settings))
    return f"asking {len(units)} units at {known}: {longest:.0f} s for the first look if nobody answers"
