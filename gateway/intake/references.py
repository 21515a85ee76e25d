"""Reference pictures on disk: STORE/references/CAMERA.LIGHT.TIME.BY.jpg. Everything here is slow: use a thread.

A reference is taken by a person who looks at it. A light without one may take its own from a picture that matches an
approved reference; its BY is `own`. Nothing else replaces a reference. The folder also has each camera's last picture,
unchanged, to detect a frozen camera.
"""

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from drivers.pictures.jpeg import Unusable
from drivers.pictures.judge import Figures, Light, PictureLimits, judge, may_be_reference
from drivers.pictures.measure import Sight, compare
from gateway.errors import NotDone
from gateway.safe_write import replace_file

KEPT = 4
"""The most references of one camera and light; beyond it the oldest is deleted."""
OWN = "own"
_NAME = re.compile(
    r"(?P<camera>[^./\\]{1,64})\.(?P<light>colour|infrared)\.(?P<time>\d{8}T\d{6}Z)\.(?P<by>[A-Za-z0-9_-]{1,40})\.jpg"
)
_LAST = "{camera}.last"
_LARGEST_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Reference:
    """One reference, not decoded."""

    path: Path
    camera: str
    light: Light
    time: str
    by: str

    @property
    def name(self) -> str:
        """Its name in evidence: camera, light, when it was taken, by whom."""
        return self.path.name.removesuffix(".jpg")

    @property
    def is_approved(self) -> bool:
        """True if a person took it."""
        return self.by != OWN

    def sight(self) -> Sight | None:
        """Its form for comparing; None: it cannot be read."""
        try:
            return Sight.of(self.path.read_bytes())
        except (OSError, Unusable):
            return None


class References:
    """The references of all cameras. `looks_on`: nothing is written."""

    def __init__(self, folder: Path, *, looks_on: bool = False) -> None:
        self._folder = folder
        self._looks_on = looks_on

    def of(self, camera: str) -> list[Reference]:
        """The references of a camera, newest first."""
        try:
            names = [path for path in self._folder.iterdir() if path.name.startswith(f"{camera}.")]
        except OSError:
            return []
        found = [
            Reference(path, camera, "colour" if it["light"] == "colour" else "infrared", it["time"], it["by"])
            for path in names
            if (it := _NAME.fullmatch(path.name)) is not None and it["camera"] == camera
        ]
        return sorted(found, key=lambda one: one.time, reverse=True)

    def take(self, camera: str, jpeg: bytes, by: str, wall: float, limits: PictureLimits) -> Reference:
        """Take a reference for a person. Raises NotDone, with figures, if the picture is unsuitable.

        References that no longer show the same place are deleted: those of this light, and `own` ones of the other
        light.
        """
        try:
            mine = Sight.of(jpeg)
        except Unusable as error:
            raise NotDone("bad-args", f"no reference: {error}") from error
        why = may_be_reference(mine.figures, limits)
        if why is not None:
            raise NotDone("bad-args", f"no reference: {why}")
        for one in self.of(camera):
            other = one.sight()
            if one.light != mine.light:
                outdated = not one.is_approved
            else:
                outdated = other is None or self._is_elsewhere(mine, other, limits)
            if outdated:
                self._drop(one)
        return self.save(camera, mine.light, jpeg, by, wall)

    def save(self, camera: str, light: Light, jpeg: bytes, by: str, wall: float) -> Reference:
        """Save a reference; at most four of a camera and light stay. Raises OSError."""
        time = datetime.fromtimestamp(wall, UTC).strftime("%Y%m%dT%H%M%SZ")
        known = re.sub(r"[^A-Za-z0-9_-]", "-", by)[:40] or "-"
        path = self._folder / f"{camera}.{light}.{time}.{known}.jpg"
        if self._looks_on:
            return Reference(path, camera, light, time, known)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(path, jpeg)
        for old in [one for one in self.of(camera) if one.light == light][KEPT:]:
            self._drop(old)
        return Reference(path, camera, light, time, known)

    # ---- the picture before -----------------------------------------------------------------------

    def last(self, camera: str) -> bytes | None:
        """The camera's picture in the previous look, unchanged."""
        try:
            path = self._folder / _LAST.format(camera=camera)
            return path.read_bytes() if path.stat().st_size <= _LARGEST_BYTES else None
        except OSError:
            return None

    def keep_last(self, camera: str, jpeg: bytes) -> None:
        """Keep the picture for the next look. If the disk is full, only that comparison is lost."""
        if self._looks_on:
            return
        with suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(self._folder / _LAST.format(camera=camera), jpeg)

    @staticmethod
    def _is_elsewhere(mine: Sight, other: Sight, limits: PictureLimits) -> bool:
        figures: Figures = other.figures
        return judge(figures, limits, mine.figures, compare(other, mine)).reason in ("moved", "covered")

    @staticmethod
    def _drop(one: Reference) -> None:
        with suppress(OSError):
            one.path.unlink()
