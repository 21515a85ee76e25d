"""Used photos of each item and used readings of each tag, so that none is accepted twice. Pure.

For each photo a mark of some 300 characters is kept, the last 4096 of each item: more than a year of eleven a day. The
counter of a tag belongs to the tag and is kept even if the item, round or place leaves the file.
"""

from collections.abc import Iterator, Mapping, Sequence

from gateway.model import Effect, Forget, Json, Remember
from gateway.site.round_settings import TAG_COUNTER

PHOTOS = "round/photo/"
"""`round/photo/SLOT/ROUND/ITEM` -> the number of its first mark, and up to 64 marks."""
_TOGETHER = 64
"""Marks that are remembered under one key; an answer writes one key."""
_SLOTS = 64
_TAGS = 1000


class _Photos:
    """The marks of one item; `first` is the running number of the oldest one."""

    def __init__(self) -> None:
        self.first = 0
        self.marks: list[str] = []


class Proofs:
    """All used photos and tags."""

    def __init__(self) -> None:
        self._photos: dict[str, _Photos] = {}
        self._counters: dict[str, int] = {}

    def restore(self, memory: Mapping[str, Json]) -> None:
        """Load the memory."""
        pieces: list[tuple[str, int, list[str]]] = []
        for key, value in memory.items():
            match value:
                case [int() as first, *marks] if key.startswith(PHOTOS):
                    pieces.append((_item_of(key), first, list(map(str, marks))))
                case int() if key.startswith(TAG_COUNTER):
                    self._counters[key.removeprefix(TAG_COUNTER)] = value
        for item, first, some in sorted(pieces):
            photos = self._photos.setdefault(item, _Photos())
            if not photos.marks:
                photos.first = first
            photos.marks += some

    def leave(self, memory: Mapping[str, Json], known: Mapping[str, frozenset[str]]) -> Iterator[Effect]:
        """Forget the photos of items that left the file (`known`: items by round)."""
        for key in memory:
            round_, _, item = _item_of(key).partition("/")
            if key.startswith(PHOTOS) and item not in known.get(round_, frozenset()):
                self._photos.pop(f"{round_}/{item}", None)
                yield Forget(key)

    def photos(self, item: str) -> Mapping[str, Sequence[str]]:
        """Item (`ROUND/ITEM`) -> marks of its photos: all photos of this item, the last 64 of every other one."""
        return {
            name: tuple(one.marks if name == item else one.marks[-_TOGETHER:]) for name, one in self._photos.items()
        }

    def given_for(self, mark: str) -> str | None:
        """The item whose recent photos include exactly this one; None: no item."""
        return next((item for item, one in self._photos.items() if mark in one.marks[-_TOGETHER:]), None)

    def add_photo(self, item: str, mark: str) -> Iterator[Effect]:
        """Add a used photo; the oldest are dropped."""
        photos = self._photos.setdefault(item, _Photos())
        photos.marks.append(mark)
        if len(photos.marks) > _TOGETHER * _SLOTS:
            del photos.marks[:_TOGETHER]
            photos.first += _TOGETHER
        first = photos.first + (len(photos.marks) - 1) // _TOGETHER * _TOGETHER
        slot = first // _TOGETHER % _SLOTS
        yield Remember(f"{PHOTOS}{slot}/{item}", [first, *photos.marks[first - photos.first :]])

    def is_newer(self, tag: str, counter: int) -> bool:
        """True if the tag's counter went forward."""
        return counter > self._counters.get(tag, -1)

    def add_tag(self, tag: str, counter: int) -> Iterator[Effect]:
        """Store the counter of a used reading of a tag."""
        self._counters.pop(tag, None)
        self._counters[tag] = counter
        yield Remember(TAG_COUNTER + tag, counter)
        if len(self._counters) > _TAGS:
            oldest = next(iter(self._counters))
            del self._counters[oldest]
            yield Forget(TAG_COUNTER + oldest)


def _item_of(key: str) -> str:
    return key.removeprefix(PHOTOS).partition("/")[2]
