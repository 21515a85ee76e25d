"""Wires everything that talks to cameras: the port, the event streams, the pictures, the relays.

gatehouse = Gatehouse(uses, inbox=inbox, store=journal, clock=clock, listen=…)
await gatehouse.run()                # in a task group
gatehouse.entrance.keep(act)         # KeepPictures
gatehouse.relays.operate(act)        # Operate whose device is in gatehouse.cameras
gatehouse.errands(journal)           # picture, access.update, access.forget, access.export
"""

import asyncio
import base64
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from drivers.anpr.camera_lookup import Camera
from drivers.anpr.capture import CameraSettings
from drivers.anpr.event_stream import Puller
from drivers.anpr.listener import MAX_BODY_BYTES, PushListener
from drivers.anpr.vzenith import RelayOpening
from drivers.pictures.account import CameraSession, Login
from drivers.pictures.asking import CameraQuestions
from drivers.pictures.jpeg import shrink
from drivers.pictures.snapshot import Snapshots
from gateway.clock import Clock
from gateway.cloud.journal.history import Erased
from gateway.driver import Listener as Driver
from gateway.errors import ConfigError
from gateway.intake.arrivals import CameraInbox, Entrance, PictureStore
from gateway.intake.camera_relay import Relays
from gateway.intake.lists import PlateEvents, PlateLists
from gateway.model import Errand, Json, rfc3339
from gateway.settings.types import CameraUse

_NEVER_BASIC = frozenset({"hikvision", "dahua"})
"""Makers whose cameras support HTTP digest."""


class Gatehouse:
    """All cameras of a site. `listen`: where cameras push to. Raises ConfigError if a camera cannot be used so."""

    def __init__(
        self,
        uses: Sequence[CameraUse],
        *,
        inbox: CameraInbox,
        store: PictureStore,
        clock: Clock,
        lists: PlateLists | None = None,
        listen: tuple[str, int] | None = None,
        max_body: int = MAX_BODY_BYTES,
    ) -> None:
        self.cameras = frozenset(one.id for one in uses)
        self.lists = lists
        self.relays = Relays(clock, inbox)
        self.entrance = Entrance(inbox, store, shrink, clock, cameras=self, relays=self.relays, lists=lists)
        accounts = {one.id: CameraSession(_login(one)) for one in uses}
        self._clock = clock
        self._questions = {one.id: CameraQuestions(one.driver, accounts[one.id], clock, one.utc_offset) for one in uses}
        self._snapshots = {
            one.id: Snapshots(
                one.id, one.driver, accounts[one.id], one.snapshot, one.channel,
                questions=self._questions[one.id] if one.driver == "onvif" else None,
            )
            for one in uses
        }  # fmt: skip
        self._drivers: dict[str, Driver] = {
            f"camera {one.id}": Puller(
                _camera(one), accounts[one.id], self.entrance, clock,
                rng=random.Random(),  # noqa: S311 - spreads reconnections, hides nothing
            )
            for one in uses
            if one.mode == "pull"
        }  # fmt: skip
        self.listener: PushListener | None = None
        pushing = [_camera(one) for one in uses if one.mode == "push"]
        if listen is not None and pushing:
            self.listener = PushListener(*listen, pushing, self.entrance, clock, max_body=max_body)
            self._drivers["cameras"] = self.listener

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.entrance.run(), name="entrance")
            if self.lists is not None:
                group.create_task(self.lists.load(), name="lists")
            for name, driver in self._drivers.items():
                group.create_task(driver.run(), name=name)

    def errands(self, events: PlateEvents) -> Mapping[str, Errand]:
        """The errands of the site; see `PlateLists.errands`."""
        table: dict[str, Errand] = {"picture": self.entrance.picture}
        if self.lists is not None:
            table |= self.lists.errands(_Forgetting(events, self._drivers.values()))
        return table

    async def photograph(self, camera: str) -> bytes:
        """The camera's present picture, unchanged. Raises DeviceSilent, DeviceRefused, ConfigError."""
        found = self._snapshots.get(camera)
        if found is None:
            raise ConfigError(f"there is no camera {camera}")
        return await found.take()

    async def look(self, camera: str) -> bytes:
        """As `photograph`, two cameras at a time."""
        return await self.entrance.look(camera)

    async def clock_off(self, camera: str) -> float | None:
        """How far the camera's clock is ahead of ours, seconds; None: not known."""
        found = self._questions.get(camera)
        return None if found is None else await found.clock_off()

    def looks(self, folder: Path, store: PictureStore) -> Mapping[str, Errand]:
        """The looks of rounds. `folder`: of the reference pictures."""
        from gateway.intake.looks import Looks
        from gateway.intake.references import References

        return Looks(self, References(folder), self.entrance.think, store, self._clock).errands()

    async def last(self, request: Mapping[str, Any]) -> Json:
        """`{camera}`: its last unreadable push; null: there is none. Raises ConfigError."""
        camera = str(request["camera"])
        if camera not in self.cameras:
            raise ConfigError(f"there is no camera {camera}; {', '.join(sorted(self.cameras))}")
        for driver in self._drivers.values():
            found = driver.unreadable(camera) if isinstance(driver, PushListener | Puller) else None
            if found is not None:
                return {
                    "time": rfc3339(found.wall), "why": found.why, "path": found.path, "size": found.size,
                    "content_type": found.content_type, "body_base64": base64.b64encode(found.body).decode(),
                }  # fmt: skip
        return None

    def health(self, scales: Mapping[str, Mapping[str, Json]]) -> dict[str, Json]:
        """Camera -> counts of its driver, and its confidence scale; `entrance` and `strangers` for all cameras."""
        cameras: dict[str, Json] = {}
        for driver in self._drivers.values():
            cameras |= {id_: {**told, **scales.get(id_, {})} for id_, told in driver.snapshot().items()}
        strangers = dict(self.listener.strangers) if self.listener is not None else {}
        return {"cameras": cameras, "entrance": dict(self.entrance.snapshot()), "strangers": strangers}


class _Forgetting:
    """The journal's events, plus the kept unreadable pushes."""

    def __init__(self, events: PlateEvents, drivers: Iterable[Driver]) -> None:
        self._events = events
        self._drivers = drivers

    async def erase(self, plate: str) -> Erased:
        """Erase in the journal, and drop all unreadable pushes, because they may contain the plate."""
        for driver in self._drivers:
            if isinstance(driver, PushListener | Puller):
                driver.forget()
        return await self._events.erase(plate)

    async def naming(self, plate: str) -> Sequence[bytes]:
        """As in the journal."""
        return await self._events.naming(plate)


def _login(use: CameraUse) -> Login:
    return Login(use.id, use.address, use.username, use.password, basic=use.driver not in _NEVER_BASIC)


def _camera(use: CameraUse) -> Camera:
    settings = CameraSettings(use.utc_offset, use.way, use.ways)
    opening = None if use.relay is None else RelayOpening(*use.relay)
    return Camera(use.id, use.driver, use.address, settings, use.token, opening, use.channel)
