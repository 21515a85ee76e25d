"""Photo and tag of a person's answer: checked in a thread before the site gets the answer."""

import asyncio
import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from drivers.pictures.jpeg import Unusable
from drivers.pictures.photo import Photo, given_for, photo_of
from gateway.clock import Clock
from gateway.errors import NotDone
from gateway.intake.arrivals import PictureStore
from gateway.model import Errand, Instant, Json, Perform
from gateway.new_id import new_id
from gateway.settings.types import PlaceProof
from gateway.site.round_run import ANSWER

MAX_PHOTO_BYTES = 96 << 10
"""The largest photo in bytes."""
PHONE = "phone"
"""`subject` of a photo's `picture.taken`; its `picturekind` is `photo`."""


class Answers:
    """Checks answers. `store`: the journal."""

    def __init__(
        self,
        tags: Mapping[str, PlaceProof],
        store: PictureStore,
        clock: Clock,
    ) -> None:
        self._tags = tags
        if self._tags:
            import gateway.intake.presence  # noqa: F401 - before READY: later its file may be gone
        self._store = store
        self._clock = clock
        self._worker = ThreadPoolExecutor(1, "photos")

    def errands(self) -> Mapping[str, Errand]:
        """The errands, by command of the `Perform`."""
        return {ANSWER: self._look}

    async def _look(self, act: Perform) -> Json:
        """`{photo, tag, place, item, known}` -> `{picture, sha256, mark, presence, uid, counter}`. Raises NotDone.

        `item`: `ROUND/ITEM`; `known`: item -> marks of its earlier photos.
        """
        args, now = act.args, self._clock.now()
        told: dict[str, Json] = dict(self._presence(args.get("tag"), args.get("place")))
        photo = args.get("photo")
        if isinstance(photo, str):
            known = args.get("known")
            before = known if isinstance(known, Mapping) else {}
            told |= await self._photo(photo, str(args.get("item")), before, now)
        return told

    def _presence(self, tag: Json, place: Json) -> Mapping[str, Json]:
        known = self._tags.get(str(place))
        if not isinstance(tag, str) or known is None:
            return {"presence": "none"}
        from gateway.intake.presence import is_code, read_tag

        if known.how == "printed":
            if not is_code(tag, known.secret.read()):
                raise NotDone("bad-args", "tag: it is not the code of this place")
            return {"presence": "printed"}
        reading = read_tag(tag, known.secret.read())
        return {"presence": "ntag424", "uid": reading.uid.hex(), "counter": reading.counter}

    async def _photo(self, text: str, item: str, known: Mapping[str, Json], now: Instant) -> Mapping[str, Json]:
        try:
            data = base64.b64decode(text, validate=True)
        except ValueError as error:  # also if it is not ASCII
            raise NotDone("bad-args", "photo: no base64") from error
        if not 0 < len(data) <= MAX_PHOTO_BYTES:
            raise NotDone("bad-args", f"photo: {len(data)} bytes; 1 to {MAX_PHOTO_BYTES}")
        sha256 = hashlib.sha256(data).hexdigest()
        stamp = f"received {now.rfc3339()[:19]}Z" + ("" if now.synced else " (clock not synced)")
        try:
            made = await asyncio.get_running_loop().run_in_executor(self._worker, _made, data, stamp, item, known)
        except Unusable as error:
            raise NotDone("bad-args", f"photo: {error}") from error
        return {"picture": self._keep(made, now), "sha256": sha256, "mark": made.mark}

    def _keep(self, photo: Photo, now: Instant) -> str:
        id_ = new_id(now)
        self._store.picture(PHONE, None, "photo", now, photo.jpeg, id_)
        return id_


def _made(data: bytes, stamp: str, item: str, known: Mapping[str, Json]) -> Photo:
    """Runs in the worker's thread. `known`: item -> marks of its earlier photos. Raises Unusable, NotDone."""
    made = photo_of(data, stamp)
    other = given_for(made.mark, {name: _marks(marks) for name, marks in known.items()})
    if other is not None:
        what = "this item" if other == item else other
        raise NotDone("bad-args", f"photo: it was given for {what} before; each item wants a new one of its own")
    return made


def _marks(known: Json) -> Iterator[str]:
    for mark in known if isinstance(known, Sequence) else ():
        yield str(mark).rpartition(":")[2]  # older versions kept a digest in front of it
