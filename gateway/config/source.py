"""YAML text to a plain tree of dict, list and scalars, with the place of everything in it.

The file is read as events (libyaml) and the tree is built here, because what the file means is decided
by the page "site file": scalars of YAML 1.2 only, duplicate keys and tags refused, aliases bounded.
Keys of mappings stay text. Equal aliases share one object; nothing may change the tree.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from gateway.config.problems import WIDE, Key, Path, Problem, dotted, is_secret, plain, wide_name

MAX_BYTES = 4 << 20
MAX_DEPTH = 64
MAX_VALUES = 250_000
"""Values in a file, each alias counted as all that it stands for."""
MAX_ALIASES = 10_000
_LONGEST_NUMBER = 30

Place = tuple[int, int]
"""Line and column, counted from 1."""

_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_ZERO = re.compile(r"[-+]?0[0-9]+")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_WORDS: dict[str, bool | None] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None, "true": True, "True": True, "TRUE": True,
    "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_STR_TAG = "tag:yaml.org,2002:str"
_PLAIN_TAGS = {"!", _STR_TAG}


class SourceError(Exception):
    """The text is no tree; `problem` says why and where."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@dataclass(slots=True)
class Source:
    """A file that was read: its tree and the place of every key and value in it."""

    file: str
    tree: dict[str, Any]
    _places: dict[int, dict[Key, tuple[Place, Place]]] = field(repr=False)

    def depth(self, path: Path) -> int:
        """How many keys of `path`, from the front, are in this file."""
        return sum(1 for _ in self._walk(path))

    def place(self, path: Path, *, at_key: bool = False) -> Place:
        """Line and column of the value (or the key) at `path`; if there is none, of its nearest parent's key."""
        steps = list(self._walk(path))
        if not steps:
            return 1, 1
        key, value = steps[-1]
        return key if at_key or len(steps) < len(path) else value

    def _walk(self, path: Path) -> Iterator[tuple[Place, Place]]:
        node: Any = self.tree
        for key in path:
            spot = self._places.get(id(node), {}).get(key) if isinstance(node, dict | list) else None
            if spot is None:
                return
            yield spot
            node = node[key]


@dataclass(slots=True)
class _Open:
    """A collection that is being read."""

    node: dict[str, Any] | list[Any]
    anchor: str | None
    places: dict[Key, tuple[Place, Place]]
    start: Place
    key: str | None = None
    key_place: Place = (1, 1)
    merges: list[tuple[Any, Place]] = field(default_factory=list)
    before: int = 0
    """Values of the file before this collection began."""
    height: int = 1


@dataclass(slots=True)
class _Anchored:
    """What an anchor stands for, with what it costs."""

    node: Any
    values: int
    height: int


def read(data: bytes, file: str) -> Source:
    """The tree of a file's bytes. Raises SourceError."""
    return _TreeBuilder(file).build(_decode(data, file))


def _decode(data: bytes, file: str) -> str:
    if len(data) > MAX_BYTES:
        raise SourceError(_problem(file, (1, 1), "", f"found {len(data)} bytes; at most 4 MiB"))
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line = before.count(b"\n") + 1
        col = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        text = f"found the byte 0x{data[error.start]:02x}; the file must be UTF-8 text"
        raise SourceError(_problem(file, (line, col), "", text)) from error


def _problem(file: str, place: Place, key: str, text: str) -> Problem:
    return Problem(file, place[0], place[1], key, "error", text)


def _place(event: Any) -> Place:
    mark = event.start_mark
    return mark.line + 1, mark.column + 1


class _TreeBuilder:
    """Builds the tree from libyaml's events."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._open: list[_Open] = []
        self._anchors: dict[str, _Anchored | None] = {}
        self._places: dict[int, dict[Key, tuple[Place, Place]]] = {}
        self._values = 0
        self._aliases = 0
        self._root: Any = None
        self._documents = 0

    def build(self, text: str) -> Source:
        """Run through all events of `text`."""
        try:
            actions: dict[type, Callable[[Any], None]] = {
                yaml.ScalarEvent: self._scalar, yaml.MappingStartEvent: self._start,
                yaml.SequenceStartEvent: self._start, yaml.MappingEndEvent: self._end, yaml.SequenceEndEvent: self._end,
                yaml.AliasEvent: self._alias, yaml.DocumentStartEvent: self._document,
            }  # fmt: skip
            for event in yaml.parse(text, Loader=yaml.CSafeLoader):
                action = actions.get(type(event))
                if action is not None:
                    action(event)
        except yaml.YAMLError as error:
            raise self._syntax(error, text) from error
        if self._documents == 0 or self._root is None:
            raise self._wrong((1, 1), "found nothing; a mapping with version, site, gateway, uplink, lines, devices")
        if not isinstance(self._root, dict):
            raise self._wrong((1, 1), "found no mapping; KEY: VALUE at the top of the file")
        return Source(self._file, self._root, self._places)

    def _document(self, event: Any) -> None:
        self._documents += 1
        if self._documents > 1:
            raise self._wrong(_place(event), "found a second document; one document in a file, without ---")

    def _scalar(self, event: Any) -> None:
        mark, tag, text = event.start_mark, event.tag, event.value
        place = (mark.line + 1, mark.column + 1)
        if tag is not None and tag not in _PLAIN_TAGS:
            raise self._wrong(place, "found a tag (!…); tags are not allowed, quote the text if it begins with !")
        is_plain = tag is None and event.implicit[0]
        top = self._open[-1] if self._open else None
        if top is not None and top.key is None and type(top.node) is dict:
            self._key(top, text, place, is_plain=is_plain)
            return
        value = self._value(text, place) if is_plain else text
        if event.anchor is not None:
            self._anchors[event.anchor] = _Anchored(value, 1, 0)
        self._count(1, place)
        self._put(value, place)

    def _key(self, top: _Open, key: str, place: Place, *, is_plain: bool) -> None:
        if is_plain and not key:
            raise self._wrong(place, "found a value without a key; KEY: VALUE")
        if key in top.places and not (is_plain and key == "<<"):
            first = top.places[key][0][0]
            shown = "" if is_secret(self._path()) else f" '{plain(key)}'"
            text = f"duplicate key{shown} (first at line {first}); each key once"
            raise self._wrong(place, text, (*self._path(), key))
        top.key, top.key_place = key, place
        if is_plain and key == "<<":
            top.key = "<<"
        elif key == "<<":
            raise self._wrong(place, "found the key '<<' in quotes; it is kept for merging")

    def _value(self, text: str, place: Place) -> Any:
        if text in _WORDS:
            return _WORDS[text]
        if text[0] not in "0123456789+-.":
            return text
        if _INT.fullmatch(text) or _HEX.fullmatch(text):
            if len(text) > _LONGEST_NUMBER:
                raise self._wrong(place, f"found a number of {len(text)} digits; at most {_LONGEST_NUMBER}")
            return int(text, 16 if text.startswith("0x") else 10)
        if _ZERO.fullmatch(text):
            shown = "a number with a leading zero" if is_secret(self._path()) else f"'{plain(text)}'"
            raise self._wrong(place, f"found {shown}; a number without leading zero, or text in quotes")
        if _FLOAT.fullmatch(text):
            number = float(text)
            return number if abs(number) != float("inf") else text
        return text

    def _start(self, event: Any) -> None:
        place = _place(event)
        if event.tag not in (None, "!"):
            raise self._wrong(place, "found a tag (!…); tags are not allowed")
        top = self._open[-1] if self._open else None
        if top is not None and isinstance(top.node, dict) and top.key is None:
            raise self._wrong(place, "found a mapping or a list as a key; a word as a key")
        if len(self._open) >= MAX_DEPTH:
            raise self._wrong(place, f"found more than {MAX_DEPTH} levels; the file is at most {MAX_DEPTH} deep")
        node: dict[str, Any] | list[Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        self._open.append(_Open(node, event.anchor, {}, place, before=self._values))
        self._count(1, place)

    def _end(self, _event: Any) -> None:
        done = self._open.pop()
        if isinstance(done.node, dict):
            for node, place in done.merges:
                self._merge(done.node, done, node, place)
        self._places[id(done.node)] = done.places
        if done.anchor is not None:
            self._anchors[done.anchor] = _Anchored(done.node, self._values - done.before, done.height)
        self._raise_height(done.height)
        self._put(done.node, done.start)

    def _alias(self, event: Any) -> None:
        anchor, place = event.anchor, _place(event)
        kept = self._anchors.get(anchor)
        if anchor not in self._anchors:
            raise self._wrong(place, "found an alias (*…) without its anchor; quote the text if it begins with *")
        if kept is None:
            raise self._wrong(place, "found an alias of what it stands in; no value may contain itself")
        top = self._open[-1]
        if isinstance(top.node, dict) and top.key is None:
            raise self._wrong(place, "found an alias as a key; a word as a key")
        self._aliases += 1
        if self._aliases > MAX_ALIASES or len(self._open) + kept.height > MAX_DEPTH:
            raise self._wrong(place, f"found too many aliases; at most {MAX_ALIASES}, at most {MAX_DEPTH} deep")
        self._count(kept.values, place)
        self._raise_height(kept.height)
        self._put(kept.node, place)

    def _raise_height(self, inner: int) -> None:
        if self._open:
            self._open[-1].height = max(self._open[-1].height, inner + 1)

    def _put(self, value: Any, place: Place) -> None:
        """A value is complete: it goes where the collection that is open wants it."""
        if not self._open:
            self._root = value
            return
        top = self._open[-1]
        if isinstance(top.node, list):
            top.places[len(top.node)] = (place, place)
            top.node.append(value)
        elif top.key == "<<":
            top.merges.append((value, place))
            top.key = None
        elif top.key is not None:
            top.places[top.key] = (top.key_place, place)
            top.node[top.key] = value
            top.key = None

    def _merge(self, into: dict[str, Any], done: _Open, node: Any, place: Place) -> None:
        """`<<`: keys that are written win over merged ones, earlier mappings over later ones."""
        for mapping in node if isinstance(node, list) else [node]:
            if not isinstance(mapping, dict):
                raise self._wrong(place, "found << without a mapping; <<: *ANCHOR, or <<: [*ONE, *OTHER]")
            places = self._places[id(mapping)]
            for key, value in mapping.items():
                if key not in into:
                    into[key] = value
                    done.places[key] = places[key]

    def _count(self, values: int, place: Place) -> None:
        self._values += values
        if self._values > MAX_VALUES:
            raise self._wrong(place, f"found more than {MAX_VALUES} values (aliases counted); fewer, or fewer aliases")

    def _path(self) -> Path:
        """Where the builder is, for the message."""
        path: list[Key] = []
        for level in self._open:
            if isinstance(level.node, list):
                path.append(len(level.node))
            elif level.key is not None:
                path.append(level.key)
        return tuple(path)

    def _wrong(self, place: Place, text: str, path: Path | None = None) -> SourceError:
        return SourceError(_problem(self._file, place, dotted(self._path() if path is None else path), text))

    def _syntax(self, error: yaml.YAMLError, text: str) -> SourceError:
        """Libyaml's own errors, without any of the file's text in them."""
        position = getattr(error, "position", None)
        if position is not None:
            before = text[:position]
            place = (before.count("\n") + 1, position - before.rfind("\n"))
            return SourceError(
                _problem(self._file, place, "", "found a control character; printable text, spaces and line ends")
            )
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        said = str(getattr(error, "problem", None) or "no valid YAML")
        cause = _cause(text.split("\n"), place[0])
        if cause is not None:
            return self._wrong(*cause)
        context = getattr(error, "context", None)
        while_doing = f" {context}" if context else ""
        return self._wrong(place, f"is no valid YAML: {said}{while_doing}; look for a missing quote, bracket or space")


_BARE = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^']|'')*'|(?:^|(?<=\s))#.*")
"""What is quoted, and remarks: there any character may stand."""
_TIGHT = re.compile(r"(\s*(?:- )?[A-Za-z0-9_-]+):(?=[^\s:/])")
"""A key whose value stands right behind the colon: YAML takes both for one word."""
_LINES_BEFORE = 3
"""libyaml finds out some lines after the mistake."""


def _bare(line: str) -> str:
    """The line with all that is quoted or a remark replaced by blanks."""
    return _BARE.sub(lambda match: " " * len(match[0]), line)


_WORD = "[A-Za-z0-9_-]+"
_MISTAKEN = re.compile(
    rf"(?:^\s*(?:-\s+)?|[{{,，]\s*){_WORD}\s*(?P<colon>：)"
    rf"|(?P<comma>[，；、])\s*{_WORD}\s*[:：]"
    r"|(?:[:：]\s*|-\s+|[{\[,，]\s*)(?P<open>[［｛【“‘])"
    r"|(?P<close>[］｝】])"
    r"|^\s*(?P<mark>[＃－])"
    r"|(?:^ *|[:-] *)(?P<blank>[\u3000\u00a0])"
)
"""A character of a Chinese keyboard where YAML wants one of its own; elsewhere it is text."""


def wide_character(line: str) -> tuple[int, str] | None:
    """Column (from 1) and name of the first character of a Chinese keyboard that stands for one of YAML."""
    match = _MISTAKEN.search(_bare(line))
    if match is None or match.lastgroup is None:
        return None
    char = match[match.lastgroup]
    return match.start(match.lastgroup) + 1, f"found {wide_name(char)}; {WIDE[char]}"


def _cause(lines: list[str], at: int) -> tuple[Place, str] | None:
    """Why the text is no YAML, where that can be seen: a character, a tab, an indentation. libyaml stopped at `at`."""
    for number in range(min(at, len(lines)), max(0, at - 1 - _LINES_BEFORE), -1):
        line = lines[number - 1]
        indent = line[: len(line) - len(line.lstrip(" \t\u3000\u00a0"))]
        if "\t" in indent:
            return (number, indent.index("\t") + 1), "found a tab; spaces for indentation"
        wide = wide_character(line)
        if wide is not None:
            return (number, wide[0]), wide[1]
        tight = _TIGHT.match(line)
        if tight is not None and not tight[1].endswith(("http", "https", "mqtt", "mqtts")):
            return (number, tight.end() + 1), f"found no blank behind '{plain(tight[1].strip())}:'; KEY: VALUE"
    return _indentation(lines, at)


def _indentation(lines: list[str], at: int) -> tuple[Place, str] | None:
    """A line that begins in a column where none of the mappings above it does."""
    for number in range(min(at, len(lines)), max(0, at - 1 - _LINES_BEFORE), -1):
        line = lines[number - 1]
        if not _bare(line).strip():
            continue
        indent = len(line) - len(line.lstrip(" "))
        open_columns: list[int] = []
        for above in range(number - 1, 0, -1):
            if not _bare(lines[above - 1]).strip():
                continue
            column = len(lines[above - 1]) - len(lines[above - 1].lstrip(" "))
            if not open_columns or column < open_columns[-1]:
                open_columns.append(column)
            if column == 0:
                break
        if open_columns and indent not in open_columns and (indent < open_columns[0] or _has_value(lines, number)):
            columns = " or ".join(str(column) for column in reversed(open_columns))
            return (number, indent + 1), f"found an indentation of {indent}; {columns} spaces, as the lines above have"
    return None


def _has_value(lines: list[str], number: int) -> bool:
    """True if the last line above that says something is a key with its value: nothing may stand below it."""
    above = next((line for line in reversed(lines[: number - 1]) if _bare(line).strip()), "")
    return not _bare(above).rstrip().endswith((":", "-", "|", ">", ",", "{", "["))
