"""The state as one tree, sent as numbered patches that are encoded once for all viewers. Pure.

feed = Feed("5f3c")
feed.update({"gates": {…}})          # top-level keys that may have changed
events = feed.after(None)            # a reader is identified by the last number that it got

A patch is an RFC 7396 merge patch, so the tree holds no null: what has no value is absent. A reader that is further
behind than the ring reaches gets the whole state.
"""

import zlib
from collections import deque
from collections.abc import Mapping
from functools import cached_property

import orjson

from gateway.model import Json

PATCHES = 256
RING_BYTES = 256 << 10
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
"""RFC 1952: deflate, no name, no time. The stream never ends, so it has no trailer."""

_PLAIN = frozenset((str, int, float, bool))

Tree = dict[str, Json]


class PageEvent:
    """One server-sent event as bytes."""

    def __init__(self, event: str, data: object, id_: str | None = None) -> None:
        number = f"id: {id_}\n" if id_ is not None else ""
        self.text = f"event: {event}\n{number}data: ".encode() + orjson.dumps(data) + b"\n\n"

    @cached_property
    def deflated(self) -> bytes:
        """The same as self-contained deflate blocks, which fit into any reader's stream."""
        packer = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
        return packer.compress(self.text) + packer.flush(zlib.Z_FULL_FLUSH)


def gzip_head() -> bytes:
    """The bytes before the first deflated frame of a stream."""
    return _GZIP_HEADER


class Feed:
    """The state and its patches. `life`: part of every number, so that numbers of an earlier process are recognised."""

    def __init__(self, life: str, *, patches: int = PATCHES, ring_bytes: int = RING_BYTES) -> None:
        self.life = life
        self.number = 0
        """The number of the present state."""
        self.tree: Tree = {}
        self._patches = patches
        self._ring_bytes = ring_bytes
        self._ring: deque[PageEvent] = deque()
        """The latest patches, newest last."""
        self._held = 0
        self._snapshot: PageEvent | None = None

    def update(self, parts: Mapping[str, Json], patches: Mapping[str, Tree] | None = None) -> bool:
        """Set these top-level keys; True if anything has changed. `patches`: of some keys, the change that is known."""
        known = {key: patch for key, patch in (patches or {}).items() if key in self.tree}
        compared = {key: part for key, part in parts.items() if key not in known}
        patch = difference({key: self.tree[key] for key in compared if key in self.tree}, compared)
        patch |= {key: one for key, one in known.items() if one}
        if not patch:
            return False
        self.tree = {**self.tree, **parts}
        self.number += 1
        self._snapshot = None
        self._keep(PageEvent("patch", {"n": self.id, "patch": patch}, self.id))
        return True

    @property
    def id(self) -> str:
        """The present state's number as text."""
        return f"{self.life}.{self.number}"

    def number_of(self, id_: str | None) -> int | None:
        """The number in a reader's id; None: it is not of this process."""
        life, _, number = (id_ or "").rpartition(".")
        known = life == self.life and number.isascii() and number.isdigit() and len(number) <= 15
        return int(number) if known and int(number) <= self.number else None

    def after(self, number: int | None) -> list[PageEvent]:
        """The events that a reader with this number needs; None: it has nothing yet."""
        if number is None or self.number - number > len(self._ring):
            return [self.snapshot]
        missed = self.number - number
        return [self._ring[index] for index in range(len(self._ring) - missed, len(self._ring))]

    @property
    def snapshot(self) -> PageEvent:
        """The whole state."""
        if self._snapshot is None:
            self._snapshot = PageEvent("state", {"n": self.id, "state": self.tree}, self.id)
        return self._snapshot

    def forget(self) -> None:
        """There are no viewers: drop everything that can be made again."""
        self._ring.clear()
        self._held = 0
        self._snapshot = None

    def _keep(self, frame: PageEvent) -> None:
        self._ring.append(frame)
        self._held += len(frame.text)
        while self._ring and (len(self._ring) > self._patches or self._held > self._ring_bytes):
            self._held -= len(self._ring.popleft().text)


def difference(old: Mapping[str, Json], new: Mapping[str, Json]) -> Tree:
    """The merge patch from one tree to another, both without nulls. Identical objects are not compared."""
    # The hot path: a thousand readings a second, most of them with unchanged keys.
    patch: Tree = {}
    fresh = 0
    for key, value in new.items():
        before = old.get(key)
        if before is value:
            continue
        if before is None:
            fresh += 1
            patch[key] = value
        elif type(value) in _PLAIN:
            if before != value or type(before) is not type(value):  # 1 and true are different in JSON
                patch[key] = value
        elif type(before) is dict is type(value) or (isinstance(before, Mapping) and isinstance(value, Mapping)):
            if inner := difference(before, value):
                patch[key] = inner
        elif _differ(before, value):
            patch[key] = value
    if len(old) + fresh != len(new):
        patch |= {key: None for key in old if key not in new}
    return patch


def merged(tree: Mapping[str, Json], patch: Mapping[str, Json]) -> Tree:
    """Apply a merge patch to a tree, as a reader does."""
    result = dict(tree)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            inner = result.get(key)
            result[key] = merged(inner if isinstance(inner, Mapping) else {}, value)
        else:
            result[key] = value
    return result


def _differ(old: Json, new: Json) -> bool:
    """True if different in JSON, where 1 and true are different although equal in Python."""
    if type(old) is not type(new):
        return True
    if isinstance(old, list) and isinstance(new, list):
        return len(old) != len(new) or any(map(_differ, old, new))
    return old != new
