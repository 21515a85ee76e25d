"""The content of the retained topics: standing alarms, the status with its nonce, the health."""

import os
from collections.abc import Mapping

from gateway.clock import Clock
from gateway.cloud.events import CONTENT_TYPE, SYNCED, UNSYNCED, encode, envelope, timestamp, type_name
from gateway.cloud.mqtt.recall import Numbered, RecalledNumbers
from gateway.cloud.mqtt.retained import Slot, active_data
from gateway.cloud.mqtt.types import Broker, UplinkSettings, Will
from gateway.model import Instant, Json
from gateway.new_id import new_id

_NONCE_EVERY_S = 60.0
_NONCE_BYTES = 16
_ACTIVE_EVERY_S = 1.0
_NUMBERS_EVERY_S, _NUMBERS_BYTES_PER_S = 60.0, 128
"""Newer numbers are sent at this interval even if no alarm has changed, and with no more than this many bytes a
second."""
_URGENT = frozenset({"fire", "gas"})
_LONG = ("devices", "lines", "cameras")

_ALARM_MEMORY = "alarm/"
"""Prefix of the keys of standing alarms; the rest is the subject of their events."""


class Nonces:
    """The texts that prove a command to be fresh: the current one and the previous one."""

    def __init__(self) -> None:
        self._renewed_at = float("-inf")
        self.good: tuple[str, ...] = ()

    def renew(self, now: float) -> bool:
        """Replace the current one if it is old enough (monotonic `now`); True if it was replaced."""
        if now - self._renewed_at < _NONCE_EVERY_S:
            return False
        self._renewed_at = now
        self.good = (os.urandom(_NONCE_BYTES).hex(), *self.good[:1])
        return True


class Board:
    """Three slots, and their content."""

    def __init__(
        self,
        settings: UplinkSettings,
        clock: Clock,
        journal: Numbered,
        nonces: Nonces,
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._nonces = nonces
        self._standing: Mapping[str, Mapping[str, Json]] | None = None
        self._upto = 0
        self._told: RecalledNumbers | None = None
        self._tell_again = 0.0
        """From then on newer numbers justify a message of their own (monotonic seconds)."""
        self._clock = clock
        root = settings.root
        self.active = Slot(f"{root}/alarm/active", "alarm/active", every=_ACTIVE_EVERY_S)
        self.status = Slot(f"{root}/status", "status")
        self.health = Slot(f"{root}/health", "health")
        self._fires: set[str] = set()

    @property
    def slots(self) -> tuple[Slot, Slot, Slot]:
        """The slots in sending order."""
        return self.active, self.status, self.health

    def set_standing(self, alarms: Mapping[str, Mapping[str, Json]], upto: int) -> float:
        """Set the standing alarms and the sequence of the last alarm event in them."""
        self._standing, self._upto = alarms, upto
        fires = {id_ for id_, alarm in alarms.items() if alarm.get("kind") in _URGENT and alarm.get("active")}
        urgent, self._fires = bool(fires - self._fires), fires
        return self._put_active(urgent=urgent)

    def _put_active(self, *, urgent: bool = False) -> float:
        at, standing, upto, before = self._clock.now(), self._standing or {}, self._upto, self._epoch()

        def build(limit: int) -> bytes:
            self._told = numbers = self._journal.numbers
            # A number of an ended journal says nothing about the present one.
            last = upto if before == self._epoch() else 0
            message = self._event("alarm.active", active_data(_named(standing), last, limit, numbers), at)
            self._tell_again = self._clock.now().mono + max(_NUMBERS_EVERY_S, len(message) / _NUMBERS_BYTES_PER_S)
            return message

        self.active.put(build, urgent=urgent)
        return at.mono

    def _epoch(self) -> str | None:
        numbers = self._journal.numbers
        return None if numbers is None else numbers.journal

    def numbers_changed(self, *, leaving: bool = False) -> None:
        """Send `alarm/active` again if the store was lost or is back.

        Also if any number is newer: at once when `leaving`, else at intervals. These numbers reveal a store that was
        replaced by an older copy, whichever events it has lost.
        """
        now, told = self._journal.numbers, self._told
        if now is None or told is None or self._standing is None or self.active.pending:
            return
        due = leaving or self._clock.now().mono >= self._tell_again
        if now.stored is not told.stored or (due and now != told):
            self._put_active()

    def set_health(self, data: Mapping[str, Json]) -> None:
        """Set the health; the data must not be changed afterwards."""
        self.numbers_changed()
        at = self._clock.now()

        def build(limit: int) -> bytes:
            whole = self._event("gateway.health", data, at)
            if len(whole) <= limit:
                return whole
            # On a slow link the parts that grow with the site are left out.
            return self._event("gateway.health", {**data, **{key: {} for key in _LONG if key in data}}, at)

        self.health.put(build)

    def renew(self, now: float) -> bool:
        """Replace the nonce if it is old enough; True if it was replaced."""
        return self._nonces.renew(now)

    def tell_online(self) -> None:
        """Set the status: online, with the nonce."""
        at, data = self._clock.now(), self._status(self._nonces.good[0], online=True)
        self.status.put(lambda _limit: self._event("gateway.status", data, at))

    def farewell(self) -> bytes:
        """Set the status for a clean goodbye."""
        return self._event("gateway.status", self._status(nonce=None, online=False), self._clock.now())

    def last_words(self, broker: Broker, *, retain: bool) -> Will | None:
        """The Will: the status that the broker publishes when we are gone; without a time, which is not known."""
        if not broker.will:
            return None
        payload = self._event("gateway.status", self._status(nonce=None, online=False), None)
        return Will(self.status.topic, payload, CONTENT_TYPE, retain=retain, delay=broker.will_delay)

    def _status(self, nonce: str | None, *, online: bool) -> bytes:
        return encode({"online": online, "nonce": nonce, "version": self._settings.version})

    def _event(self, name: str, data: Mapping[str, Json] | bytes, at: Instant | None) -> bytes:
        now = self._clock.now() if at is None else at
        return envelope(
            id_=new_id(now),
            source=self._settings.source,
            type_=type_name(name),
            subject=None,
            time=None if at is None else timestamp(at.wall),
            clock=SYNCED if now.synced else UNSYNCED,
            boot=self._settings.boot,
            data=data,
            simulated=self._settings.simulated,
        )


def _named(alarms: Mapping[str, Mapping[str, Json]]) -> list[Mapping[str, Json]]:
    return [{**alarm, "subject": key.removeprefix(_ALARM_MEMORY)} for key, alarm in alarms.items()]
