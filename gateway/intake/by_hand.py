"""One camera for a person, whether the daemon runs or not: its picture, its verdict, its reference."""

import asyncio
from dataclasses import replace
from pathlib import Path

from gateway.clock import Clock
from gateway.config.site import SiteFile
from gateway.intake.cameras import Gatehouse
from gateway.intake.looks import Looks, limits_of
from gateway.intake.references import References
from gateway.model import Input, Passage
from gateway.settings.camera_uses import camera_uses
from gateway.settings.round_uses import round_settings
from gateway.site.looks import Look
from gateway.site.round_settings import PictureRule


class ByHand:
    """One camera of a site file. Raises ConfigError if it cannot be asked for pictures."""

    def __init__(self, file: SiteFile, camera: str, clock: Clock) -> None:
        use = next(one for one in camera_uses(file) if one.id == camera)
        self.rule = _rule_for(file, camera)
        """The rule of a round for it; None: no round looks at it."""
        self._camera = use.id
        self._clock = clock
        self._folder = folder_of(file)
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
        """The picture, unchanged. Raises DeviceSilent, DeviceRefused, ConfigError."""
        return await self.look(self._camera)

    async def check(self) -> tuple[Look, bytes | None]:
        """How a round would judge it now, and the last picture used for that."""
        looks = Looks(self, References(self._folder, looks_on=True), asyncio.to_thread, _Nowhere(), self._clock)
        found = replace(await looks.look(self._rule), picture=None)
        return found, self._seen[-1] if self._seen else None

    def keep(self, jpeg: bytes, by: str) -> str:
        """Keep the picture as a reference; returns its name. Raises NotDone, with figures, if unsuitable; OSError."""
        kept = References(self._folder).take(self._camera, jpeg, by, self._clock.now().wall, limits_of(self._rule))
        return kept.name

    @property
    def _rule(self) -> PictureRule:
        return self.rule or PictureRule(self._camera)


def folder_of(file: SiteFile) -> Path:
    """The folder of a site's references."""
    return Path(file.store.path) / "references"


def _rule_for(file: SiteFile, camera: str) -> PictureRule | None:
    known = round_settings(file)
    rounds = () if known is None else known.rounds.values()
    rules = [item.rule for one in rounds for item in one.items if isinstance(item.rule, PictureRule)]
    return next((rule for rule in rules if rule.camera == camera), None)


class _Nowhere:
    """Stands in for inbox and journal, which do not exist here: the person decides where a picture is kept."""

    async def hand_in(self, passage: Passage) -> None:
        """Do nothing: there are no passages."""

    def remind(self, item: Input) -> None:
        """Do nothing: there is no site."""

    def picture(self, *_of: object) -> None:
        """Do nothing: there is no journal."""
