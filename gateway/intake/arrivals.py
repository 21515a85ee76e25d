"""Takes pushes of cameras: passes passages to the inbox, and holds their pictures until the site says which to keep.

entrance = Entrance(inbox, journal, shrink, clock, cameras=…)
PushListener(…, entrance, clock)
entrance.keep(act)              # KeepPictures of a step, after its commit
await entrance.run()            # in a task group

Limits: 64 passages and 12 MiB of pictures at once. Beyond that the oldest ones of the camera that has most are dropped
and counted, so a camera that floods loses only its own passages.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from gateway.clock import Clock
from gateway.driver import CapturedPicture, PassageInbox, Push, ReminderInbox
from gateway.errors import ConfigError, GatewayError, NotDone
from gateway.intake.camera_relay import Relays
from gateway.log import logger
from gateway.model import Instant, Json, KeepPictures, OwnHealth, Passage, Perform, PictureRef
from gateway.new_id import new_id

_log = logger(__name__)

PASSAGES = 64
"""The most passages in the inbox; as many may wait for it, and as many may have pictures that wait for a verdict."""
PICTURES_BYTES = 12 << 20
"""The most bytes of held pictures."""
OWN = 2
"""Passages of each camera that always get into the inbox, whatever others send."""
UNDECIDED_S = 5.0
"""How long pictures wait for `keep` after the acceptance; for a repeat there is no `keep`."""
_LOOKS = 2
"""The most cameras that are asked for a picture at once."""

_PATIENCE_S = 10.0
_T = TypeVar("_T")

Shrink = Callable[[bytes], bytes]
"""Any picture -> a small clean JPEG; slow, for a thread. Raises GatewayError if it is not a picture."""


class CameraInbox(PassageInbox, ReminderInbox, Protocol):
    """The way into the site for cameras."""


class PictureStore(Protocol):
    """What is needed of the journal."""

    def picture(self, camera: str, passage: str | None, kind: str, taken_at: Instant, jpeg: bytes, id_: str) -> None:
        """Make an event of the JPEG, with this id."""
        ...


class Photographer(Protocol):
    """Cameras that supply pictures."""

    async def photograph(self, camera: str) -> bytes:
        """Get the camera's present picture. Raises DeviceSilent, DeviceRefused, ConfigError."""
        ...


@dataclass(frozen=True, slots=True)
class _Kept:
    """A picture that is going to be an event."""

    camera: str
    passage: str | None
    at: Instant
    id: str
    shot: CapturedPicture


class Entrance:
    """Takes pushes, and holds their pictures until the site says which to keep.

    `lists`: passages are handed in through them.
    """

    def __init__(
        self,
        inbox: CameraInbox,
        store: PictureStore,
        shrink: Shrink,
        clock: Clock,
        *,
        cameras: Photographer | None = None,
        relays: Relays | None = None,
        lists: PassageInbox | None = None,
    ) -> None:
        self._inbox = inbox
        self._passages = lists or inbox
        self._relays = relays
        self._store = store
        self._shrink = shrink
        self._clock = clock
        self._cameras = cameras
        self._group: asyncio.TaskGroup | None = None
        self._under_way: Counter[str] = Counter()
        """Camera -> number of its passages in the inbox."""
        self._waiting: deque[tuple[Passage, asyncio.Event]] = deque()
        self._held: dict[str, dict[str, CapturedPicture]] = {}
        """First picture id of each passage -> its pictures, oldest first."""
        self._owner: dict[str, str] = {}
        """First id -> camera."""
        self._first: dict[str, str] = {}
        """Picture id -> first id of its passage."""
        self._kept: deque[_Kept] = deque()
        self._filled = asyncio.Event()
        self._nothing_waits = asyncio.Event()
        self._nothing_waits.set()
        self._bytes = 0
        self._down: dict[str, float] = {}
        self._looks = asyncio.Semaphore(_LOOKS)
        self._worker = ThreadPoolExecutor(1, "pictures")
        self.counts: Counter[str] = Counter()
        """passages, passages_shed, pictures_shed, pictures_kept, pictures_unusable."""

    def snapshot(self) -> Mapping[str, int]:
        """The counts for health."""
        return {**self.counts, "waiting": len(self._waiting) + self._under_way.total(), "picture_bytes": self._bytes}

    async def run(self) -> None:
        """Pass on passages and shrink pictures until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                self._begin_waiting()
                await self._store_kept()
        finally:
            self._group = None
            self._worker.shutdown(wait=False, cancel_futures=True)

    # ---- a push -----------------------------------------------------------------------------------

    async def take(self, push: Push) -> None:
        """Take a push; returns once it is accepted. It is taken even if the caller is cancelled."""
        passage = self._with_pictures(push)
        accepted = asyncio.Event()
        self.counts["passages"] += 1
        self._waiting.append((passage, accepted))
        self._begin_waiting()
        if len(self._waiting) > PASSAGES:
            oldest, given_up = self._shed()
            self.counts["passages_shed"] += 1
            self._drop([one.id for one in oldest.pictures])
            given_up.set()
        await accepted.wait()

    async def opens(self, push: Push) -> bool:
        """True if the site has just ordered a pulse of this camera's relay, which the answer to this push carries."""
        return self._relays is not None and self._relays.leaves_with(push)

    def _shed(self) -> tuple[Passage, asyncio.Event]:
        """Drop the oldest waiting passage of the camera that has most waiting."""
        most = _greediest(Counter(passage.camera for passage, _ in self._waiting))
        found = next(one for one in self._waiting if one[0].camera == most)
        self._waiting.remove(found)
        return found

    def _begin_waiting(self) -> None:
        """Pass passages on in order of arrival; a camera with few under way overtakes those that flood."""
        if self._group is None:
            return
        for one in tuple(self._waiting):
            passage, accepted = one
            if self._under_way.total() < PASSAGES or self._under_way[passage.camera] < OWN:
                self._waiting.remove(one)
                self._under_way[passage.camera] += 1
                self._group.create_task(self._handed_in(passage, accepted), name=f"passage {passage.camera}")

    async def _handed_in(self, passage: Passage, accepted: asyncio.Event) -> None:
        try:
            await self._passages.hand_in(passage)
        finally:
            self._under_way[passage.camera] -= 1
            accepted.set()
        self._begin_waiting()
        ids = [one.id for one in passage.pictures]
        if any(one in self._first for one in ids):
            asyncio.get_running_loop().call_later(UNDECIDED_S, self._drop, ids)

    # ---- its pictures -------------------------------------------------------------------------------

    def _with_pictures(self, push: Push) -> Passage:
        """The passage with ids of its pictures, which are held under these."""
        passage, shots = push
        if not shots:
            return passage
        named = {new_id(passage.at): shot for shot in shots}
        first = next(iter(named))
        self._held[first] = named
        self._owner[first] = passage.camera
        self._first.update(dict.fromkeys(named, first))
        self._bytes += sum(len(shot.data) for shot in shots)
        self._make_room()
        refs = tuple(PictureRef(id_, shot.role) for id_, shot in named.items())
        return replace(passage, pictures=refs)

    def keep(self, act: KeepPictures) -> None:
        """Make events of the pictures to keep; drop the others."""
        for id_ in act.ids:
            shot = self._taken_out(id_)
            if shot is None:
                self.counts["pictures_shed"] += 1
            else:
                self._bytes += len(shot.data)
                self._kept.append(_Kept(act.camera, act.passage, act.at, id_, shot))
        self._drop(act.drop)
        self._make_room()
        self._nothing_waits.clear()
        self._filled.set()

    async def _store_kept(self) -> None:
        """Store the kept pictures one after the other in one thread, as they are not urgent."""
        loop = asyncio.get_running_loop()
        while True:
            while not self._kept:
                self._filled.clear()
                self._nothing_waits.set()
                await self._filled.wait()
            one = self._kept.popleft()
            begun = loop.time()
            try:
                await self._stored(one)
            except GatewayError as error:
                self.counts["pictures_unusable"] += 1
                _log.debug("a picture cannot be used", camera=one.camera, why=str(error))
            finally:
                self._bytes -= len(one.shot.data)
            await asyncio.sleep(loop.time() - begun)  # half of a core at most: gates come first

    async def _stored(self, one: _Kept) -> None:
        """Shrink and store a picture. Raises GatewayError if it is not one."""
        jpeg = await asyncio.get_running_loop().run_in_executor(self._worker, self._shrink, one.shot.data)
        self._store.picture(one.camera, one.passage, one.shot.role, one.at, jpeg, one.id)
        self.counts["pictures_kept"] += 1

    def _make_room(self) -> None:
        """Drop the oldest pictures of the camera that has most, first those that already have a verdict."""
        while self._bytes > PICTURES_BYTES and (self._kept or self._held):
            sizes: Counter[str] = Counter()
            for kept in self._kept:
                sizes[kept.camera] += len(kept.shot.data)
            for first, shots in self._held.items():
                sizes[self._owner[first]] += sum(len(shot.data) for shot in shots.values())
            self._give_up(_greediest(sizes))
        while len(self._held) > PASSAGES:
            self._forget_held(_greediest(Counter(self._owner.values())))

    def _give_up(self, camera: str) -> None:
        kept = next((one for one in self._kept if one.camera == camera), None)
        if kept is None:
            self._forget_held(camera)
            return
        self._kept.remove(kept)
        self._bytes -= len(kept.shot.data)
        self.counts["pictures_shed"] += 1

    def _forget_held(self, camera: str) -> None:
        oldest = list(next(self._held[first] for first, owner in self._owner.items() if owner == camera))
        self.counts["pictures_shed"] += len(oldest)
        self._drop(oldest)

    def _drop(self, ids: Collection[str]) -> None:
        for id_ in ids:
            self._taken_out(id_)

    def _taken_out(self, id_: str) -> CapturedPicture | None:
        first = self._first.pop(id_, None)
        if first is None:
            return None
        shots = self._held[first]
        shot = shots.pop(id_)
        if not shots:
            del self._held[first], self._owner[first]
        self._bytes -= len(shot.data)
        return shot

    # ---- a picture that was asked for ---------------------------------------------------------------

    async def fetch(self, camera: str) -> str:
        """Get a picture; returns the id of its event. Raises DeviceSilent, DeviceRefused, ConfigError, NotDone."""
        if self._cameras is None:
            raise ConfigError(f"camera {camera} gives no pictures")
        async with self._looks:
            data = await self._cameras.photograph(camera)
            at = self._clock.now()
            one = _Kept(camera, None, at, new_id(at), CapturedPicture("scene", data))
            try:
                await self._stored(one)
            except GatewayError as error:
                raise NotDone("refused-by-device", f"camera {camera}: no picture that can be used: {error}") from error
        return one.id

    async def picture(self, act: Perform) -> Json:
        """The errand `picture`. Raises as `fetch`."""
        return {"picture": await self.fetch(str(act.args["camera"]))}

    async def think(self, work: Callable[[], _T]) -> _T:
        """Run work in the picture thread, after all plates, but at the latest after 10 s."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                await self._nothing_waits.wait()
        return await asyncio.get_running_loop().run_in_executor(self._worker, work)

    async def look(self, camera: str) -> bytes:
        """The camera's present picture, unchanged; two cameras at a time. Raises as `fetch`, except NotDone."""
        if self._cameras is None:
            raise ConfigError(f"camera {camera} gives no pictures")
        async with self._looks:
            return await self._cameras.photograph(camera)

    # ---- cameras that come and go -------------------------------------------------------------------

    def tell(self, who: str, well: bool, why: str) -> None:
        """Log one line when a camera or the listener goes down, and one when it is back."""
        now = self._clock.now().mono
        since = self._down.pop(who, None)
        if not well:
            self._down[who] = now if since is None else since
            _log.warning("camera down", camera=who, why=why)
        elif since is not None:
            _log.info("camera back", camera=who, after_s=round(now - since, 1))

    def alarm(self, name: str, well: bool, why: str) -> None:
        """Raise or clear an alarm of the gateway about a camera."""
        self._inbox.remind(OwnHealth(name, well, why, self._clock.now()))


def _greediest(sizes: Counter[str]) -> str:
    """The key with the most."""
    return sizes.most_common(1)[0][0]
