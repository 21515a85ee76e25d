"""What is wrong with a file, as lines for people; and the translation of pydantic's errors into them. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

Key = str | int
Path = tuple[Key, ...]
Level = Literal["error", "warning"]

SECRETS = frozenset({"password", "token"})
"""Keys whose value is never shown."""
_SHOWN = 40
_LONGEST_KEY = 64
_MANY_NAMES = 1000
_MISTYPED = 12
MOST = 500
"""Findings after which nobody reads on: no more are looked for."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake (or doubt) and where it stands; `line` and `col` count from 1."""

    file: str
    line: int
    col: int
    key: str
    level: Level
    text: str

    def __str__(self) -> str:
        """`FILE:LINE:COL: KEY.PATH: what was found; what is allowed; did you mean 'x'?`, always one line."""
        key = f"{self.key}: " if self.key else ""
        mark = "warning: " if self.level == "warning" else ""
        return f"{self.file}:{self.line}:{self.col}: {key}{mark}{self.text}"


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem before its place in the file is known: the path in the tree, and whether the key itself is meant."""

    path: Path
    text: str
    level: Level = "error"
    at_key: bool = False


def plain(text: str, longest: int = _LONGEST_KEY) -> str:
    """`text` on one line, cut, with nothing in it that a terminal would obey."""
    cut = text if len(text) <= longest else text[: longest - 1] + "…"
    if cut.isprintable():
        return cut
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in cut)


def dotted(path: Iterable[Key]) -> str:
    """A path as people write it: `devices.smoke-1.points`; nothing below a secret's name is shown."""
    shown = []
    for key in path:
        shown.append(plain(str(key)))
        if key in SECRETS:
            break
    return ".".join(shown)


def is_secret(path: Iterable[Key]) -> bool:
    """True if what stands here, or below, may be a secret."""
    return any(key in SECRETS for key in path)


def found(value: object) -> str:
    """A value as the file has it, short."""
    if value is None:
        return "found nothing"
    if isinstance(value, bool):
        return "found true" if value else "found false"
    if isinstance(value, int | float):
        return f"found {value}"
    if isinstance(value, str):
        return f"found '{plain(_without_login(value), _SHOWN)}'"
    return "found a mapping" if isinstance(value, Mapping) else "found a list"


def _without_login(text: str) -> str:
    """A URL without its user and password, and without its query, which may hold them."""
    if "@" in text:
        text = "…@" + text.rpartition("@")[2]
    return text.partition("?")[0] + "?…" if "://" in text and "?" in text else text


def near(word: object, names: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or nothing."""
    if not isinstance(word, str) or not word or len(word) > _LONGEST_KEY:
        return ""
    known = [name for name in names if abs(len(name) - len(word)) <= _MISTYPED][:_MANY_NAMES]
    match = get_close_matches(word, known, n=1, cutoff=0.6)
    if not match and (folded := [name for name in known if name.lower() == word.strip().lower()]):
        match = folded[:1]
    return f"; did you mean '{match[0]}'?" if match else ""


def listed(names: Iterable[str], most: int = 30) -> str:
    """`a, b, c`, cut after `most`."""
    known = list(names)
    more = f", … ({len(known) - most} more)" if len(known) > most else ""
    return ", ".join(plain(name) for name in known[:most]) + more


def unknown_name(what: str, word: str, names: Sequence[str]) -> str:
    """The text for a reference that leads nowhere."""
    allowed = listed(names, 12) if names else "none is defined"
    return f"found '{plain(word, _SHOWN)}', which is no {what}; {what}s are: {allowed}{near(word, names)}"


def resolve(tree: object, loc: Sequence[Key]) -> Path:
    """The path in the file that pydantic's `loc` means.

    pydantic puts tags of unions between the keys: what is not in the tree is passed over, except at the
    end, where it is a key that is missing.
    """
    path: list[Key] = []
    node = tree
    last = len(loc) - 1
    for number, key in enumerate(loc):
        inside = child(node, key)
        if inside is not _NOTHING:
            path.append(str(key) if isinstance(node, Mapping) else key)
            node = inside
        elif number == last and not _is_inserted(key):
            path.append(key)
    return tuple(path)


_NOTHING = object()


def child(node: object, key: Key) -> object:
    """What stands under `key`, or a marker that compares unequal to everything."""
    if isinstance(node, Mapping):
        return node.get(str(key), _NOTHING)
    if isinstance(node, list | tuple) and isinstance(key, int) and 0 <= key < len(node):
        return node[key]
    return _NOTHING


def _is_inserted(key: Key) -> bool:
    return isinstance(key, str) and (key.startswith("<") or "[" in key)


_ALLOWED = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a number",
    "string_type": "text (in quotes if it looks like a number)",
    "dict_type": "a mapping, KEY: VALUE",
    "model_type": "a mapping, KEY: VALUE",
    "model_attributes_type": "a mapping, KEY: VALUE",
    "tuple_type": "a list, [A, B]",
    "list_type": "a list, [A, B]",
}
_FORMS: dict[Key, str] = {
    "open": "DEVICE.POINT | {camera: ID, io: 0}",
    "hold_by": "level | {repeat: 5s}",
    "direction": "in | out | {by-camera: {forward: in, reverse: out}}",
    "zones": "any | [ZONE, ZONE]",
    "write": "true | false | {fc: 5, on: 0x0100, off: 0}",
}
"""What is allowed where a word, a list or a mapping may stand."""
_ID_RULE = "1-63 of a-z, 0-9 and -, not beginning with -"
_PATTERNS = {
    r"^[a-z0-9][a-z0-9-]{0,62}$": _ID_RULE,
    r"^[a-z0-9][a-z0-9-]{0,62}\.[a-z0-9][a-z0-9-]{0,62}$": "DEVICE.POINT, such as relay-1.do1",
    r"^/[^\x00-\x1f\x7f]+$": "the whole path of a device, such as /dev/serial/by-id/…",
    r"^[+-](0\d|1[0-4]):[0-5]\d$": 'an offset such as "+08:00"',
}


def translate(error: Mapping[str, Any], tree: object, names: Sequence[str]) -> Finding:
    """One pydantic error about `tree` as a finding. `names`: the keys allowed where an unknown one was found."""
    loc = error["loc"]
    kind = error["type"]
    ctx = error.get("ctx") or {}
    path = resolve(tree, loc)
    if kind == "missing":
        return Finding(path, "is missing; it is required", at_key=True)
    if kind == "extra_forbidden":
        return unknown_key(path, names)
    if loc and loc[-1] == "[key]":
        return Finding(path, f"found the name '{plain(str(path[-1]))}'; {_allowed(kind, ctx)}", at_key=True)
    if kind == "said":
        more = [int(key) if key.isdigit() else key for key in str(ctx["key"]).split(".")] if ctx.get("key") else []
        return Finding(resolve(tree, (*path, *more)), ctx["text"])
    value = _at(tree, path, error.get("input"))
    form = _FORMS.get(path[-1]) if path and str(loc[-1]).startswith("<") else None
    allowed = form or _allowed(kind, ctx, value) or str(error["msg"])
    if is_secret(path):
        return Finding(path, f"found something that is not shown; {allowed}")
    close = near(value, _choices(ctx)) if kind == "literal_error" else ""
    return Finding(path, f"{found(value)}; {allowed}{close}")


def _at(tree: object, path: Path, otherwise: object) -> object:
    """The value as the file has it (pydantic's `input` may be converted already)."""
    for key in path:
        tree = child(tree, key)
    return otherwise if tree is _NOTHING else tree


def unknown_key(path: Path, names: Sequence[str]) -> Finding:
    """A key that has no meaning; below a secret it is not shown, it may be the secret itself."""
    if is_secret(path[:-1]):
        return Finding(path, f"found an unknown key; allowed: {listed(names)}", at_key=True)
    word = str(path[-1])
    text = f"found the unknown key '{plain(word)}'; allowed: {listed(names)}{near(word, names)}"
    return Finding(path, text, at_key=True)


def _choices(ctx: Mapping[str, Any]) -> list[str]:
    text = str(ctx.get("expected", "")).replace(" or ", ", ")
    return [word.strip().strip("'\"") for word in text.split(",") if word.strip()]


def _bound(limit: Any, value: object) -> str:
    """A limit in the unit that the value was written in."""
    if isinstance(value, str):
        return f"{int(limit) >> 10}KiB" if value.endswith("iB") else f"{limit:g}s"
    return f"{limit:g}" if isinstance(limit, float) else str(limit)


def _allowed(kind: str, ctx: Mapping[str, Any], value: object = None) -> str:
    """What a pydantic error says may stand there; empty if it has to speak for itself."""
    match kind:
        case "value_error":
            text = str(ctx["error"])
        case "literal_error":
            text = " | ".join(_choices(ctx))
        case "string_pattern_mismatch":
            text = _PATTERNS.get(ctx["pattern"], f"text of the form {ctx['pattern']}")
        case "greater_than_equal":
            text = f"at least {_bound(ctx['ge'], value)}"
        case "less_than_equal":
            text = f"at most {_bound(ctx['le'], value)}"
        case "too_short":
            text = f"at least {ctx['min_length']} of them"
        case "string_too_short":
            text = f"at least {ctx['min_length']} characters"
        case "string_too_long":
            text = f"at most {ctx['max_length']} characters"
        case _:
            text = _ALLOWED.get(kind, "")
    return text
