"""Reference pictures on disk: STORE/references/CAMERA.LIGHT.TIME.BY.jpg. Everything here takes time: in a thread.

A person who looks takes one. A light that has none may take its own from a picture that lies on an approved one; its
BY is `own`. Nothing else replaces a reference. Beside them lies the picture that each camera gave last, as it came:
whether a camera is frozen shows only there.
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
"""References of one camera and light; the oldest goes."""
OWN = "own"
_NAME = re.compile(
    r"(?P<camera>[^./\\]{1,64})\.(?P<light>colour|infrared)\.(?P<time>\d{8}T\d{6}Z)\.(?P<by>[A-Za-z0-9_-]{1,40})\.jpg"
)
_LAST = "{camera}.last"
_LARGEST_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Reference:
    """One of them, not decoded."""

    path: Path
    camera: str
    light: Light
    time: str
    by: str

    @property
    def name(self) -> str:
        """What the evidence calls it: camera, light, when it was taken, by whom."""
        return self.path.name.removesuffix(".jpg")

    @property
    def is_approved(self) -> bool:
        """A person looked at it."""
        return self.by != OWN

    def sight(self) -> Sight | None:
        """As it can be compared; None: it cannot be read."""
        try:
            return Sight.of(self.path.read_bytes())
        except (OSError, Unusable):
            return None


class References:
    """The folder of all cameras. `looks_on`: nothing is written."""

    def __init__(self, folder: Path, *, looks_on: bool = False) -> None:
        self._folder = folder
        self._looks_on = looks_on

    def of(self, camera: str) -> list[Reference]:
        """Those of a camera, the newest first."""
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
        """A person says that this is how it has to look. Raises NotDone, with figures: it cannot be one.

        What does not show the same place any more goes: of this light, and what the other light took by itself.
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
        """Keep it; at most four of a camera and light stay. Raises OSError."""
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
        """The picture that the camera gave in the look before, as it came."""
        try:
            path = self._folder / _LAST.format(camera=camera)
            return path.read_bytes() if path.stat().st_size <= _LARGEST_BYTES else None
        except OSError:
            return None

    def keep_last(self, camera: str, jpeg: bytes) -> None:
        """For the look after this one. A full disk costs that comparison, and no more."""
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
