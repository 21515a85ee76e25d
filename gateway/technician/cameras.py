"""Checks a site's cameras: whether each gives a picture, has the right time, and has a reference."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator

from gateway.clock import Clock
from gateway.config.site import SiteFile
from gateway.errors import ConfigError, DeviceRefused, DeviceSilent
from gateway.intake.by_hand import ByHand, folder_of
from gateway.intake.references import References
from gateway.safe_write import as_owner
from gateway.site.round_settings import PictureRule
from gateway.technician.wiring_faults import Level, Sign

_AT_ONCE = 4
"""The most cameras that are asked at once."""
_LOCKS = 401
_ELSEWHERE = "look at its page in a browser; write `snapshot` if its picture is elsewhere"


def cameras(file: SiteFile, clock: Clock) -> Iterator[Sign]:
    """Findings of every camera, in the order of the file. One login each, as cameras lock after several wrong ones."""

    async def asked() -> list[list[Sign]]:
        turns = asyncio.Semaphore(_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            works = [group.create_task(_in_turn(file, name, clock, turns), name=name) for name in file.cameras]
        return [work.result() for work in works]

    for signs in asyncio.run(asked()):
        yield from signs


async def _in_turn(file: SiteFile, name: str, clock: Clock, turns: asyncio.Semaphore) -> list[Sign]:
    async with turns:
        return [sign async for sign in _camera(file, name, clock)]


async def _camera(file: SiteFile, name: str, clock: Clock) -> AsyncIterator[Sign]:
    about, address = f"camera {name}", file.cameras[name].address
    try:
        by_hand = ByHand(file, name, clock)
    except ConfigError as error:
        yield Sign(about, "wrong", str(error))
        return
    # A camera that no round looks at needs no picture.
    failed: Level = "doubt" if by_hand.rule is None else "wrong"
    try:
        jpeg = await by_hand.picture()
    except DeviceSilent as error:
        yield Sign(about, failed, str(error), f"check its supply and cable, and that {address} is its address")
        return
    except DeviceRefused as error:
        yield Sign(about, failed, str(error), _login(file, name) if error.code == _LOCKS else _ELSEWHERE)
        return
    except ConfigError as error:
        yield Sign(about, "doubt", str(error))
        return
    yield Sign(about, "good", f"gives its picture: {len(jpeg) >> 10} KiB")
    rule = by_hand.rule or PictureRule(name)
    for sign in (await _clock(about, failed, by_hand, rule, clock), _reference(file, about, by_hand)):
        if sign is not None:
            yield sign


def _login(file: SiteFile, name: str) -> str:
    if file.cameras[name].username is None:
        return "give it `username` and `password`, of an account that may only take pictures"
    return "check `username` and `password`; five wrong logins lock this machine out for half an hour"


async def _clock(about: str, failed: Level, by_hand: ByHand, rule: PictureRule, clock: Clock) -> Sign | None:
    """Check the camera's clock; None: its time is not known, ours is not trusted, or it does not matter."""
    if not clock.now().synced or not rule.max_clock:
        return None
    off = await by_hand.clock_off(rule.camera)
    if off is None:
        return None
    if abs(off) <= rule.max_clock:
        return Sign(about, "good", f"its clock is right ({off:+.0f} s)")
    return Sign(
        about, failed, f"its clock is off by {off:+.0f} s", "let it take its time by NTP, and look at its time zone"
    )


def _reference(file: SiteFile, about: str, by_hand: ByHand) -> Sign | None:
    """Check the camera's reference; None: no round looks at it, or this user cannot read references."""
    if by_hand.rule is None:
        return None
    folder = folder_of(file)
    with as_owner(folder):
        if folder.exists() and not os.access(folder, os.R_OK | os.X_OK):
            return None
        lights = sorted({one.light for one in References(folder).of(by_hand.rule.camera)})
    if lights:
        return Sign(about, "good", f"has a reference in {' and '.join(lights)}")
    what = "has no reference: a round sees whether it is dark, flat or frozen, but not covered, blurred or moved"
    return Sign(
        about, "doubt", what, f"look at it, then: site-gateway picture SITE.yaml {by_hand.rule.camera} --reference"
    )
