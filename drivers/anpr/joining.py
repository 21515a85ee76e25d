"""Joins parts of an endless body into captures with their pictures, which follow as separate parts. Pure."""

from collections.abc import Callable
from dataclasses import replace

from drivers.anpr.capture import CameraSettings, Capture, Report
from drivers.anpr.multipart import FormPart
from drivers.anpr.part_sorting import SCENES, chosen

JOIN_WITHIN_S = 0.25
"""How long a capture waits for its next picture."""
Read = Callable[[FormPart, CameraSettings], Report]


class Joiner:
    """The captures of one connection. `read` parses the maker's parts."""

    def __init__(self, read: Read, settings: CameraSettings) -> None:
        self._read = read
        self._settings = settings
        self._open: Capture | None = None

    @property
    def is_waiting(self) -> bool:
        """True while a capture waits for its pictures."""
        return self._open is not None

    def take(self, part: FormPart) -> tuple[Report, tuple[Capture, ...]]:
        """The content of the part, and the captures that are complete with it. Raises Unreadable."""
        report = self._read(part, self._settings)
        if report.captures:
            done = (*self.flush(), *report.captures[:-1])
            self._open = report.captures[-1]
            return report, done
        if report.kind != "pictures":
            return report, self.flush()
        if self._open is not None and report.pictures:
            self._open = replace(self._open, pictures=chosen((*self._open.pictures, *report.pictures)))
            if len(self._open.pictures) > SCENES:
                return report, self.flush()
        return report, ()

    def flush(self) -> tuple[Capture, ...]:
        """Stop waiting for pictures; returns the waiting capture."""
        done = () if self._open is None else (self._open,)
        self._open = None
        return done
