"""What is wrong with a file, as lines for people; and the translation of pydantic's errors into them. Pure."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

Key = str | int
Path = tuple[Key, ...]
Level = Literal["error", "warning"]

SECRETS = frozenset({"password", "token"})
"""Keys whose value is never shown."""
_SHOWN = 40
_LONGEST_KEY = 64
_MANY_NAMES = 1000
_STEM = 5
"""Letters that the beginning of a name must have to stand for it."""
WIDE = {
    "：": "':' and a blank", "，": "','", "；": "','", "（": "'('", "）": "')'", "［": "'['", "］": "']'", "｛": "'{'",
    "｝": "'}'", "【": "'['", "】": "']'", "“": "'\"'", "”": "'\"'", "‘": "\"'\"", "’": "\"'\"", "＃": "'#'",
    "－": "'-'",
    "、": "','", "\u3000": "a space", "\u00a0": "a space",
}  # fmt: skip
"""Characters of a Chinese keyboard that look like those of YAML, and what stands for them."""
_BLANKS = {"\u3000": "a full-width blank (U+3000)", "\u00a0": "a blank that does not break (U+00A0)"}
_SAFETY_CHOICES = {
    "trigger": "two-devices: two detectors of one zone must be in fire; any: one detector is enough",
    "call_point": "alone: one call point is enough; counts-as-one: it counts as one detector",
    "on_loss": "keep: the output stays as it is; open: the gate opens if the gateway dies",
    "unknown": "deny: the gate stays closed; open: it opens",
    "no_plate": "deny: the gate stays closed; open: it opens",
    "blocked": "deny: the gate stays closed; open: it opens",
    "special": "deny: the gate stays closed; open: it opens",
}
"""What each word of a choice does that moves gates: nobody is led from one to the other by a likeness of spelling."""
_MEANT = {
    "and": "two-devices", "both": "two-devices", "two": "two-devices", "2": "two-devices", "double": "two-devices",
    "or": "any", "one": "any", "1": "any", "single": "any", "either": "any",
}  # fmt: skip
"""Words that people write for a trigger, and what the file calls it."""
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


def folded(problems: Iterable[Problem], most: int = 3) -> list[Problem]:
    """The same, but of more than `most` warnings that say the same of several entries the first, with a count."""
    kinds: dict[str, list[Problem]] = {}
    kept: list[Problem] = []
    for problem in problems:
        if problem.level == "error":
            kept.append(problem)
        else:
            kinds.setdefault(_NAMED.sub("…", problem.text), []).append(problem)
    for alike in kinds.values():
        if len(alike) <= most:
            kept += alike
            continue
        places = ", ".join(dict.fromkeys(str(one.line) for one in alike[1:]))
        places = places if len(places) <= _LONGEST_KEY else places[: _LONGEST_KEY - 1].rpartition(",")[0] + ", …"
        kept.append(replace(alike[0], text=f"{alike[0].text}; the same {len(alike) - 1} times more (lines {places})"))
    order = {id(problem): number for number, problem in enumerate(kept)}
    return sorted(kept, key=lambda one: (one.file != kept[0].file, one.file, one.line, one.col, order[id(one)]))


_NAMED = re.compile(r"'[^']*'|\([^)]*\)|\d+(?:\.\d+)?")
"""What differs between warnings of one kind: names, remarks in brackets, numbers."""


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


def wide_name(char: str) -> str:
    """What to call a character of WIDE."""
    return _BLANKS.get(char) or f"the full-width '{char}'"


def _remark(text: str) -> str:
    """` (with …)` where a word has a character of a Chinese keyboard in it, which is easily overlooked."""
    wide = next((char for char in text if char in WIDE), None)
    return f" (with {wide_name(wide)})" if wide else ""


def found(value: object) -> str:
    """A value as the file has it, short."""
    if value is None:
        return "found nothing"
    if isinstance(value, bool):
        return "found true" if value else "found false"
    if isinstance(value, int | float):
        return f"found {value}"
    if isinstance(value, str):
        return f"found '{plain(_without_login(value), _SHOWN)}'{_remark(value)}"
    return "found a mapping" if isinstance(value, Mapping) else "found a list"


def _without_login(text: str) -> str:
    """A URL without its user and password, and without its query, which may hold them."""
    if "@" in text:
        text = "…@" + text.rpartition("@")[2]
    return text.partition("?")[0] + "?…" if "://" in text and "?" in text else text


def near(word: object, names: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or nothing: only for what is a slip of the fingers, by the length of the word."""
    close = nearest(word, names)
    return f"; did you mean '{close}'?" if close else ""


def nearest(word: object, names: Iterable[str]) -> str | None:
    """The name that `word` was meant to be: alike but for case, width and a slip or two, or begun by it; else None."""
    if not isinstance(word, str) or not word.strip() or len(word) > _LONGEST_KEY:
        return None
    meant = _folded(word)
    allowed = _slips(meant)
    best: tuple[int, str] | None = None
    known = list(names)[:_MANY_NAMES]
    longer = [name for name in known if len(meant) >= _STEM and _folded(name).startswith(f"{meant}-")]
    if len(longer) == 1:
        return longer[0]
    for name in known:
        folded = _folded(name)
        if abs(len(folded) - len(meant)) > allowed:
            continue
        slips = 0 if folded == meant else edits(meant, folded)
        if slips <= allowed and (best is None or slips < best[0]):
            best = slips, name
    return best[1] if best else None


def _folded(word: str) -> str:
    """Without the differences of case, of full width, and of - and _."""
    return unicodedata.normalize("NFKC", word).strip().casefold().replace("_", "-")


def _slips(word: str) -> int:
    """Slips of the fingers that a word of this length may have: a short one with another letter is another word."""
    return 0 if len(word) < 4 else 1 if len(word) < 6 else 2 if len(word) < 10 else 3


def edits(one: str, other: str) -> int:
    """Letters to put in, take out, change or swap with the next, from one word to the other (string alignment)."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for number, left in enumerate(one):
        earlier, before, row = before, row, [number + 1]
        for at, right in enumerate(other):
            cost = min(before[at + 1] + 1, row[at] + 1, before[at] + (left != right))
            if number and at and left == other[at - 1] and one[number - 1] == right:
                cost = min(cost, earlier[at - 1] + 1)
            row.append(cost)
    return row[-1]


def listed(names: Iterable[str], most: int = 30) -> str:
    """`a, b, c`, cut after `most`."""
    known = list(names)
    more = f", … ({len(known) - most} more)" if len(known) > most else ""
    return ", ".join(plain(name) for name in known[:most]) + more


def unknown_name(what: str, word: str, names: Sequence[str]) -> str:
    """The text for a reference that leads nowhere."""
    allowed = listed(names, 12) if names else "none is defined"
    return f"{found(word)}, which is no {what}; {what}s are: {allowed}{near(word, names)}"


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
    if (choice := next((str(key) for key in reversed(path) if key in _SAFETY_CHOICES), None)) is not None:
        return Finding(path, f"{found(value)}; {allowed}{_explained(choice, value)}")
    close = near(value, _choices(ctx)) if kind == "literal_error" else ""
    return Finding(path, f"{found(value)}; {allowed}{close}")


def _explained(choice: str, value: object) -> str:
    """What the allowed words do; and which of them is meant, where the word that was found has one meaning."""
    meant = _MEANT.get(_folded(str(value))) if choice == "trigger" else None
    hint = f"; '{plain(str(value))}' is written {meant} here" if meant else ""
    return f" ({_SAFETY_CHOICES[choice]}){hint}"


def _at(tree: object, path: Path, otherwise: object) -> object:
    """The value as the file has it (pydantic's `input` may be converted already)."""
    for key in path:
        tree = child(tree, key)
    return otherwise if tree is _NOTHING else tree


def meant_key(key: str) -> str:
    """The key that somebody wrote who set a full-width colon behind it; empty: there is no such colon."""
    word, colon, _ = key.partition("：")
    return word.strip() if colon else ""


def unknown_key(path: Path, names: Sequence[str]) -> Finding:
    """A key that has no meaning; below a secret it is not shown, it may be the secret itself."""
    if is_secret(path[:-1]):
        return Finding(path, f"found an unknown key; allowed: {listed(names)}", at_key=True)
    word = str(path[-1])
    if (meant := meant_key(word)) in names:
        return Finding(path, f"found {wide_name('：')} behind '{meant}'; {WIDE['：']}", at_key=True)
    text = f"found the unknown key '{plain(word)}'{_remark(word)}; allowed: {listed(names)}{near(word, names)}"
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
