"""Plate lists on disk: STORE/lists/NAME.VERSION. Everything here is slow and must run on a worker thread.

A file is written under another name, fsynced and renamed, so that there is always a complete one; the previous version
is kept too. A damaged file is set aside, one at most.
"""

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from gateway.safe_write import replace_file
from gateway.site.list_file import MAX_HEAD_BYTES, ListHead, decode, encode, file_name, file_prefix, peek
from gateway.site.lists import PlateList

_KEPT = 2
_PART = ".part"
_DAMAGED = "damaged"


class _Place(NamedTuple):
    path: Path
    head: ListHead


@dataclass(slots=True)
class Stored:
    """The stored state of one list. `problems`: unusable files, as text."""

    found: PlateList | None = None
    head: ListHead | None = None
    problems: list[str] = field(default_factory=list)


class ListFolder:
    """The folder. `looks_on`: read only; damaged files stay where they are."""

    def __init__(self, folder: Path, *, looks_on: bool = False) -> None:
        self._folder = folder
        self._looks_on = looks_on

    def names(self) -> list[str]:
        """The names of stored lists."""
        return sorted({place.head.name for place in self._places(None)})

    def csv_of(self, name: str) -> str | None:
        """The fingerprint of the CSV that the newest version comes from."""
        return next((place.head.csv for place in self._places(name)), None)

    def newest(self, name: str) -> Stored:
        """The newest valid version of a list; an invalid one is set aside."""
        stored = Stored()
        for place in self._places(name):
            try:
                stored.head, stored.found = decode(place.path.read_bytes())
            except (OSError, ValueError) as error:
                stored.problems.append(f"{place.path.name}: {_why(error)}")
                if isinstance(error, ValueError) and not self._looks_on:
                    with suppress(OSError):
                        place.path.replace(self._folder / _DAMAGED)
            else:
                return stored
        return stored

    def save(self, new: PlateList, csv: str | None, by: str | None = None) -> ListHead:
        """Save a list durably. Raises OSError, and then nothing has changed."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        places = self._places(new.name)
        number = max((place.head.number for place in places if place.head.version != ""), default=0) + 1
        path = self._folder / file_name(new.name, new.version)
        replace_file(path, encode(new, number, csv, by))
        self._drop([place.path for place in places if place.path != path][_KEPT - 1 :])
        return ListHead(new.name, new.version, number, csv, by)

    def forget_versions(self) -> None:
        """Delete all older versions and damaged files, so that nothing of an erased plate stays."""
        for name in self.names():
            self._drop([place.path for place in self._places(name)[1:]])
        self._drop([self._folder / _DAMAGED])

    def strays(self, names: Collection[str]) -> list[str]:
        """Set aside files that are not lists and belong to none of `names`; returns a text for each."""
        prefixes = tuple(map(file_prefix, names))
        found = []
        for path in self._paths():
            if not path.name.startswith(prefixes) and _head(path) is None:
                found.append(path.name)
                with suppress(OSError):
                    path.replace(self._folder / _DAMAGED)
        return found

    def _places(self, name: str | None) -> list[_Place]:
        """The files of a list (None: of all), first those with an unreadable head, then newest first."""
        places = []
        for path in self._paths():
            known = _head(path)
            if known is None and name is not None and path.name.startswith(file_prefix(name)):
                known = ListHead(name, "", 1 << 62, None)
            if known is not None and name in (None, known.name):
                places.append(_Place(path, known))
        return sorted(places, key=lambda place: -place.head.number)

    def _paths(self) -> list[Path]:
        try:
            found = sorted(self._folder.iterdir())
        except OSError:
            return []
        return [path for path in found if path.name != _DAMAGED and path.suffix != _PART]

    def _drop(self, paths: list[Path]) -> None:
        for path in paths:
            with suppress(OSError):
                path.unlink()


def _head(path: Path) -> ListHead | None:
    try:
        with path.open("rb") as stream:
            return peek(b"".join((stream.readline(MAX_HEAD_BYTES), stream.readline(MAX_HEAD_BYTES))))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _why(error: OSError | ValueError) -> str:
    return error.strerror or "cannot be read" if isinstance(error, OSError) else str(error)
