"""Finds the profile of a unit: tries every shipped one, reading only, and ranks them."""

from collections.abc import Mapping
from math import isfinite
from typing import NamedTuple

from gateway.config.device import Profile
from gateway.config.points import Point
from gateway.config.profiles import ProfileShelf
from gateway.driver import Block, Decoded, Poller
from gateway.errors import DeviceError
from gateway.model import Quality
from gateway.technician.scan_line import Setting, Target, profiles_at

_GENERIC = "generic-"
_SMALLEST, _LARGEST = 1e-4, 1e7
"""The range of a physical quantity other than zero; random bytes as a float are rarely inside."""


_Known = dict[tuple[tuple[str, int, int], ...], bytes | None]
"""A unit's answers by addresses in its tables; None: no answer, or a refusal."""


class Guess(NamedTuple):
    """A profile whose registers all answered with plausible values."""

    profile: str
    title: str
    score: float


async def guesses(target: Target, setting: Setting, unit: int, seconds: float) -> list[Guess]:
    """The matching profiles, best first. `seconds`: the unit's answer time. Raises LineDown."""
    sheets = profiles()
    found = []
    async with profiles_at(target, setting, unit, {name: sheet.points for name, sheet in sheets.items()}) as poller:
        timeout = max(0.15, 4 * seconds)
        asked: dict[str, list[Block]] = {}
        for block in poller.blocks():
            asked.setdefault(block.device, []).append(block)
        known: _Known = {}
        for name, blocks in asked.items():
            values = await _values(poller, blocks, sheets[name].points, timeout, known)
            score = None if values is None else rank(sheets[name], values, setting)
            if score is not None:
                found.append(Guess(name, sheets[name].title or name, score))
    return sorted(found, key=lambda guess: -guess.score)


def profiles() -> dict[str, Profile]:
    """Every shipped profile that has points to read."""
    shelf = ProfileShelf("")
    sheets = {name: shelf.find(name) for name in shelf.names()}
    return {
        name: sheet.profile
        for name, sheet in sheets.items()
        if sheet is not None and sheet.profile is not None and sheet.profile.points
    }


def rank(profile: Profile, values: dict[str, Decoded], setting: Setting) -> float | None:
    """How well these readings fit; None: not at all. A point with more ways to be wrong counts more."""
    score = -1.0 if profile.profile.startswith(_GENERIC) else 0.0
    for name, point in profile.points.items():
        reading = values[name]
        if reading.quality is not Quality.GOOD:
            return None
        worth = _worth(point, reading)
        if worth is None:
            return None
        score += worth
    if profile.line is not None and setting.framing is None:
        score += 2.0 if profile.line.baudrate == setting.baudrate else -1.0
    return score


def _worth(point: Point, reading: Decoded) -> float | None:
    if point.type.startswith("float"):
        value = reading.value
        if not isinstance(value, int | float) or not isfinite(value):
            return None
        return 1.0 if value == 0 or _SMALLEST <= abs(value) <= _LARGEST else None
    if point.values is not None or point.supervised is not None:
        return 3.0
    return 2.0 if point.valid is not None else 0.5


async def _values(
    poller: Poller, blocks: list[Block], points: Mapping[str, Point], timeout: float, known: _Known
) -> dict[str, Decoded] | None:
    """The readings of a profile; None as soon as one fails. Each address is asked for once."""
    values: dict[str, Decoded] = {}
    for block in blocks:
        place = tuple(sorted({points[name].span for name in block.points}))
        if place not in known:
            try:
                known[place] = await poller.read(block, timeout)
            except DeviceError:
                known[place] = None
        raw = known[place]
        if raw is None:
            return None
        values |= poller.decode(block, raw)
    return values


Guesses = dict[tuple[int, Setting], list[Guess]]
