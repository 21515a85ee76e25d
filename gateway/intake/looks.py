"""Looks at cameras for rounds: takes pictures, judges them in a thread, keeps them as evidence; answers `LOOK`.

looks = Looks(eye, References(store / "references"), entrance.think, journal, clock)
table |= looks.errands()

A picture that is covered, blurred or dazzled is taken again after 5 s, at most twice, because a lorry may just be
passing. A camera is frozen if two pictures at least 5 s apart, or this one and that of the previous look, are the same.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from drivers.pictures.jpeg import Unusable, shrink
from drivers.pictures.judge import (
    AGAIN,
    PictureLimits,
    PictureVerdict,
    figures_of,
    judge,
    lies_on,
)
from drivers.pictures.measure import Sight, alike, compare
from drivers.pictures.snapshot import NoPicture
from gateway.clock import Clock
from gateway.errors import ConfigError, DeviceRefused, DeviceSilent, GatewayError
from gateway.intake.arrivals import PictureStore
from gateway.intake.references import OWN, Reference, References
from gateway.model import Errand, Instant, Json, Perform
from gateway.new_id import new_id
from gateway.site.looks import LOOK, Look, rule_of
from gateway.site.round_settings import PictureRule

APART_S = 5.0
_LOOKS = 3
"""The most pictures of one look."""


class Eye(Protocol):
    """The cameras, one request at a time for each."""

    async def look(self, camera: str) -> bytes:
        """The present picture, unchanged. Raises DeviceSilent, DeviceRefused, ConfigError."""
        ...

    async def clock_off(self, camera: str) -> float | None:
        """How far its clock differs from ours, seconds; None: not known, or ours is not synced."""
        ...


Think = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Runs work in the worker's thread, after all plates."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """A judged picture."""

    jpeg: bytes
    at: Instant
    verdict: PictureVerdict
    figures: Mapping[str, float | str]
    compared_with: str | None = None
    is_picture: bool = True


class Looks:
    """Looks at cameras, one request at a time."""

    def __init__(
        self,
        eye: Eye,
        references: References,
        think: Think,
        store: PictureStore,
        clock: Clock,
    ) -> None:
        self._eye = eye
        self._references = references
        self._think = think
        self._store = store
        self._clock = clock

    def errands(self) -> Mapping[str, Errand]:
        """By the command of the `Perform`."""
        return {LOOK: self._look}

    async def _look(self, act: Perform) -> Json:
        return (await self.look(rule_of(act.args))).result()

    async def look(self, rule: PictureRule) -> Look:
        """Judge the camera's picture. A picture that came is kept as an event."""
        try:
            seen = await self._seen(rule)
        except NoPicture as no:
            return Look("abnormal", no.reason, detail=str(no), **self._when())
        except DeviceSilent as error:
            return Look("not-checkable", "unreachable", detail=str(error), **self._when())
        except (DeviceRefused, ConfigError) as error:
            return Look("not-checkable", "refused", detail=str(error), **self._when())
        if seen.verdict.outcome == "normal":
            seen = await self._by_its_clock(rule, seen)
        return await self._told(rule, seen)

    # ---- pictures ---------------------------------------------------------------------------------

    async def _seen(self, rule: PictureRule) -> _Seen:
        """Take and judge up to three pictures; returns the last. Raises as `Eye.look`."""
        camera, limits = rule.camera, limits_of(rule)
        last = await self._think(lambda: self._references.last(camera))
        first = seen = await self._one(camera, limits, last)
        looks = 1
        while looks < _LOOKS and (seen.verdict.reason in AGAIN or (looks == 1 and seen.verdict.outcome == "normal")):
            await asyncio.sleep(APART_S)
            seen = await self._one(camera, limits, seen.jpeg)
            looks += 1
        if first.is_picture:
            await self._think(lambda: self._references.keep_last(camera, first.jpeg))
        return seen

    async def _one(self, camera: str, limits: PictureLimits, before: bytes | None) -> _Seen:
        jpeg = await self._eye.look(camera)
        at = self._clock.now()
        seen: _Seen = await self._think(lambda: self._judged(camera, limits, jpeg, at, before))
        return seen

    def _judged(self, camera: str, limits: PictureLimits, jpeg: bytes, at: Instant, before: bytes | None) -> _Seen:
        """Judge a picture; runs in the worker's thread."""
        try:
            mine = Sight.of(jpeg)
            same = None if before is None else _alike(jpeg, before)
        except Unusable as error:
            return _Seen(jpeg, at, PictureVerdict("abnormal", "damaged", str(error)), {}, is_picture=False)
        alone = judge(mine.figures, replace(limits, written=frozenset()), alike=same)
        figures = figures_of(mine.figures, None, None) | ({} if same is None else {"alike": round(same, 3)})
        if alone.reason is not None:
            return _Seen(jpeg, at, alone, figures)
        known = self._references.of(camera)
        best: _Seen | None = None
        mates = [one for one in known if one.light == mine.light]
        for one in mates:
            seen = _against(jpeg, at, mine, one, limits, figures)
            if seen is not None and (best is None or seen.verdict.outcome == "normal"):
                best = seen
            if best is not None and best.verdict.outcome == "normal":
                break
        if best is None and mates:
            best = _Seen(jpeg, at, PictureVerdict("not-checkable", "no-reference", "it cannot be read"), figures)
        if best is not None:
            return best
        approved = next((one for one in known if one.is_approved and one.light != mine.light), None)
        if approved is not None:
            return self._by_the_other_light(camera, jpeg, at, mine, approved, figures)
        verdict = judge(mine.figures, limits)
        if verdict.outcome == "normal":
            verdict = replace(verdict, detail=f"no reference in {mine.light}: only what needs none was judged")
        return _Seen(jpeg, at, verdict, figures)

    def _by_the_other_light(
        self,
        camera: str,
        jpeg: bytes,
        at: Instant,
        mine: Sight,
        approved: Reference,
        figures: Mapping[str, float | str],
    ) -> _Seen:
        """Take an own reference for a light without one, if this picture matches an approved one."""
        other = approved.sight()
        compared = None if other is None else compare(mine, other)
        if other is None or compared is None or not lies_on(mine.figures, other.figures, compared):
            why = f"no reference in {mine.figures.light}, and it does not lie on {approved.name}"
            return _Seen(jpeg, at, PictureVerdict("not-checkable", "no-reference", why), figures)
        try:
            own = self._references.save(camera, mine.figures.light, jpeg, OWN, at.wall)
        except OSError as error:
            why = f"no reference in {mine.figures.light}, and none can be written: {error.strerror}"
            return _Seen(jpeg, at, PictureVerdict("not-checkable", "no-reference", why), figures)
        said = PictureVerdict("normal", None, f"lies on {approved.name}; from now on {own.name} is its reference")
        told = figures_of(mine.figures, other.figures, compared) | dict(figures)
        return _Seen(jpeg, at, said, told, approved.name)

    # ---- what comes of it -------------------------------------------------------------------------

    async def _by_its_clock(self, rule: PictureRule, seen: _Seen) -> _Seen:
        if not seen.at.synced or not rule.max_clock:
            return seen
        off = await self._eye.clock_off(rule.camera)
        if off is None:
            return seen
        figures = {**seen.figures, "clock_off_s": round(off, 1)}
        if abs(off) <= rule.max_clock:
            return replace(seen, figures=figures)
        said = PictureVerdict("abnormal", "clock", f"its clock is off by {off:+.0f} s, more than {rule.max_clock:g} s")
        return replace(seen, figures=figures, verdict=said)

    async def _told(self, rule: PictureRule, seen: _Seen) -> Look:
        camera, verdict = rule.camera, seen.verdict
        look = Look(
            verdict.outcome, verdict.reason, verdict.detail, dict(seen.figures) or None,
            sha256=hashlib.sha256(seen.jpeg).hexdigest(), compared_with=seen.compared_with, **self._when(seen.at),
        )  # fmt: skip
        if not seen.is_picture:
            return look
        try:
            kept: bytes = await self._think(lambda: shrink(seen.jpeg))
        except GatewayError:
            return look
        id_ = new_id(seen.at)
        self._store.picture(camera, None, "scene", seen.at, kept, id_)
        return replace(look, picture=id_, kept_sha256=hashlib.sha256(kept).hexdigest())

    def _when(self, at: Instant | None = None) -> dict[str, Any]:
        then = at or self._clock.now()
        return {"at": then.rfc3339(), "clock": "synced" if then.synced else "unsynced"}


def limits_of(rule: PictureRule) -> PictureLimits:
    """The judge's limits from a rule of the site file."""
    return PictureLimits(
        rule.dark_below, rule.bright_above, rule.flat_below, rule.blur_below, rule.max_drift,
        written=rule.written,
    )  # fmt: skip


def _alike(jpeg: bytes, before: bytes) -> float:
    """True if both pictures are the same. An unreadable earlier one counts as different."""
    if jpeg == before:
        return 1.0
    try:
        return alike(jpeg, before)
    except Unusable:
        return 0.0


def _against(
    jpeg: bytes, at: Instant, mine: Sight, reference: Reference, limits: PictureLimits,
    figures: Mapping[str, float | str],
) -> _Seen | None:  # fmt: skip
    other = reference.sight()
    if other is None:
        return None
    compared = compare(mine, other)
    verdict = judge(mine.figures, limits, other.figures, compared)
    return _Seen(
        jpeg, at, verdict, figures_of(mine.figures, other.figures, compared) | dict(figures), reference.name
    )  # fmt: skip
