"""A person looks through one camera, whether the daemon runs or not: its picture, its verdict, its reference."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gateway.clock import Clock
from gateway.intake.cameras import Gatehouse
from gateway.intake.looks import Looks, limits_of
from gateway.intake.references import References
from gateway.model import Input, Passage
from gateway.settings.types import CameraUse
from gateway.site.looks import Look
from gateway.site.round_settings import PictureRule


class ByHand:
    """`folder`: of the references. Raises ConfigError: the camera cannot be asked so."""

    def __init__(self, use: CameraUse, folder: Path, clock: Clock) -> None:
        self._camera = use.id
        self._clock = clock
        self._folder = folder
        self._references = References(folder)
        self._seen: list[bytes] = []
        self._house = Gatehouse([replace(use, mode=None, relay=None)], inbox=_Nowhere(), store=_Nowhere(), clock=clock)

    async def look(self, camera: str) -> bytes:
        """As a round asks for it."""
        found = await self._house.photograph(camera)
        self._seen.append(found)
        return found

    async def clock_off(self, camera: str) -> float | None:
        """As a round asks for it."""
        return await self._house.clock_off(camera)

    async def picture(self) -> bytes:
        """As it came. Raises DeviceSilent, DeviceRefused, ConfigError."""
        return await self.look(self._camera)

    async def check(self, rule: PictureRule) -> tuple[Look, bytes | None]:
        """How a round would judge it now, and the last picture that it went by."""
        looks = Looks(self, References(self._folder, looks_on=True), asyncio.to_thread, _Nowhere(), self._clock)
        found = replace(await looks.look(rule), picture=None)
        return found, self._seen[-1] if self._seen else None

    def keep(self, jpeg: bytes, rule: PictureRule, by: str) -> str:
        """The picture is a reference; its name. Raises NotDone, with figures: it cannot be one; OSError."""
        return self._references.take(self._camera, jpeg, by, self._clock.now().wall, limits_of(rule)).name


def rule_for(camera: str, rules: Sequence[PictureRule]) -> PictureRule:
    """The rule by which a round looks at it; the usual limits if none does."""
    return next((rule for rule in rules if rule.camera == camera), PictureRule(camera))


class _Nowhere:
    """There is no site to tell, and no journal: a picture is kept where the person says."""

    async def hand_in(self, passage: Passage) -> None:
        """Nothing passes before a camera that only looks on."""

    def remind(self, item: Input) -> None:
        """Nobody is told."""

    def picture(self, *_of: object) -> None:
        """Not kept."""
