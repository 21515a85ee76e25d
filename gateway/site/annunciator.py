"""Sound in the guard room. Fire goes before fault; silencing stops only the sound; every new alarm sounds again."""

from collections.abc import Iterator, Mapping

from gateway.model import Effect, Forget, Instant, Json, Quality, Reading, Remember
from gateway.site.alarms import Alarms, Change, Watch
from gateway.site.outputs import Outputs
from gateway.site.settings import AnnunciatorSettings, Ref

_MEMORY = "silenced/"
_NOT_DELIVERED = "gateway/not-delivered"
"""A fire was not delivered to the cloud: this sounds like the fire itself."""


class Annunciator:
    """Which alarms sound. Shelved and disabled alarms and those of a test do not."""

    def __init__(self, settings: AnnunciatorSettings, alarms: Alarms, outputs: Outputs) -> None:
        self._settings = settings
        self._alarms = alarms
        self._outputs = outputs
        self._sounding: dict[bool, set[str]] = {True: set(), False: set()}
        """Sounding subjects; True: fires."""
        self._silenced: set[str] = set()
        self._pressed = False
        self.stale = False

    def restore(self, memory: Mapping[str, Json]) -> None:
        """Load what sounded."""
        self._silenced = {key.removeprefix(_MEMORY) for key in memory if key.startswith(_MEMORY)}
        for watch in self._alarms.all_standing():
            if watch.rule.subject not in self._silenced and _sounds(watch):
                self._sounding[_fire(watch)].add(watch.rule.subject)
        self.stale = True

    def changed(self, change: Change) -> Iterator[Effect]:
        """Take a change of an alarm."""
        watch = change.watch
        subject = watch.rule.subject
        sounding = self._sounding[_fire(watch)]
        before = subject in sounding
        if not _sounds(watch):
            sounding.discard(subject)
        elif change.type == "alarm.raised" or (change.type == "alarm.updated" and change.data["state"] == "unack"):
            sounding.add(subject)
        if subject in self._silenced and (watch.standing is None or subject in sounding):
            self._silenced.discard(subject)
            yield Forget(_MEMORY + subject)
        self.stale |= before is not (subject in sounding)

    def silence(self) -> Iterator[Effect]:
        """Stop the sound; nothing else changes."""
        for subjects in self._sounding.values():
            for subject in sorted(subjects):
                yield Remember(_MEMORY + subject, True)
            self._silenced |= subjects
            subjects.clear()
        self.stale = True

    def read(self, ref: Ref, reading: Reading) -> Iterator[Effect]:
        """Take a reading of the silence button."""
        if ref == self._settings.silence and reading.quality is Quality.GOOD:
            pressed = bool(reading.value)
            if pressed and not self._pressed:
                yield from self.silence()
            self._pressed = pressed

    def settle(self, now: Instant) -> Iterator[Effect]:
        """Switch the outputs to match what sounds."""
        self.stale = False
        fire = bool(self._sounding[True])
        fault = bool(self._sounding[False]) and not (fire and self._settings.fire is not None)
        for ref, on in ((self._settings.fire, fire), (self._settings.fault, fault)):
            if ref is None or on is self._outputs.held(ref):
                continue
            if on:
                yield from self._outputs.hold(ref, now, urgent=False, remember=True)
            else:
                yield from self._outputs.release(ref, now)


def _fire(watch: Watch) -> bool:
    return watch.rule.kind == "fire" or watch.rule.subject == _NOT_DELIVERED


def _sounds(watch: Watch) -> bool:
    data = watch.standing
    if data is None or watch.test or data["shelved"] or data["disabled"]:
        return False
    return _fire(watch) or (bool(data["active"]) and data["severity"] != "low")
