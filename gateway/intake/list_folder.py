"""Lists of plates on disk: STORE/lists/NAME.VERSION. Everything here takes time and belongs on a worker's thread.

A file is written beside its place, fsynced and renamed, so that there is a whole one at any instant; the version before
is kept beside it. What is damaged is set aside, one file at most.
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
    """What there is of one list. `problems`: files that could not be used, in words."""

    found: PlateList | None = None
    head: ListHead | None = None
    problems: list[str] = field(default_factory=list)


class ListFolder:
    """The folder. `looks_on`: what is damaged stays where it is."""

    def __init__(self, folder: Path, *, looks_on: bool = False) -> None:
        self._folder = folder
        self._looks_on = looks_on

    def names(self) -> list[str]:
        """The lists that there are."""
        return sorted({place.head.name for place in self._places(None)})

    def csv_of(self, name: str) -> str | None:
        """The fingerprint of the CSV that the newest version comes from."""
        return next((place.head.csv for place in self._places(name)), None)

    def newest(self, name: str) -> Stored:
        """The newest version of a list that is sound; one that is not is set aside."""
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
        """Keep a list; durable when this returns. Raises OSError, and then all is as it was."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        places = self._places(new.name)
        number = max((place.head.number for place in places if place.head.version != ""), default=0) + 1
        path = self._folder / file_name(new.name, new.version)
        replace_file(path, encode(new, number, csv, by))
        self._drop([place.path for place in places if place.path != path][_KEPT - 1 :])
        return ListHead(new.name, new.version, number, csv, by)

    def forget_versions(self) -> None:
        """Delete every version before the newest, and what is damaged: nothing of an erased plate may stay."""
        for name in self.names():
            self._drop([place.path for place in self._places(name)[1:]])
        self._drop([self._folder / _DAMAGED])

    def strays(self, names: Collection[str]) -> list[str]:
        """Files that are no lists, and by their names of none of `names`: set aside, and told."""
        prefixes = tuple(map(file_prefix, names))
        found = []
        for path in self._paths():
            if not path.name.startswith(prefixes) and _head(path) is None:
                found.append(path.name)
                with suppress(OSError):
                    path.replace(self._folder / _DAMAGED)
        return found

    def _places(self, name: str | None) -> list[_Place]:
        """The files of a list (None: of all), the newest first; before them those whose head cannot be read."""
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
