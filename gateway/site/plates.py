"""Plates: normalises and classifies them by GA 36-2018 and the rules of special kinds. Pure.

The kind comes from the shape of the text; colour and the camera's own classification can only contradict it. Shapes
without a Chinese character of their own (military) are `sure` only if colour or camera confirm them.

A separator is dropped only where GA 36 has it: one, before the serial. Any other sign between or beside letters and
digits stands for an unread character: it becomes `UNREAD`, and such a text never equals a listed plate.
"""

import re
import unicodedata
from collections.abc import Mapping
from typing import NamedTuple

PROVINCES = "京津冀晋蒙辽吉黑沪苏浙皖闽赣鲁豫鄂湘粤桂琼渝川贵云藏陕甘青宁新"
KINDS = (
    "ordinary", "new-energy", "police", "learner", "trailer", "hong-kong", "macau", "embassy", "consulate",
    "military", "wj", "civil-aviation", "emergency", "other",
)  # fmt: skip
LONGEST = 16
"""The longest plate in characters; a longer text is not a plate but other text in the picture."""

NO_PLATE: Mapping[str, frozenset[str]] = {
    "vzenith": frozenset({"_无_", "无牌车", "无牌", "无"}),
    "hikvision": frozenset({"unknown", "车牌", "无车牌", "未识别", "unlicensed", "noplate", "未识别车牌", "未知车牌"}),
    "dahua": frozenset({
        "unknown", "no plate", "<unknown>", "noplate", "unrecognised", "unrecognized", "unlicensed", "no license",
        "unlicensed car", "no_plate",
    }),
    "gat1400": frozenset({"无车牌", "未识别", "未识别车牌", "无号牌", "未悬挂号牌", "无牌车辆"}),
    "others": frozenset({
        "none", "null", "nil", "n/a", "-", "--", "无号牌", "未知", "未悬挂", "0", "00000000", "无法识别", "未上牌",
        "没有车牌", "识别失败", "unidentified", "not recognized", "unlicensed vehicle", "no number plate",
        "no licence plate", "no license plate", "empty",
    }),
}  # fmt: skip
"""What makers send when they read nothing; compared without case, by letters, digits and signs only."""

UNREAD = "?"
"""Stands for an unread character in the compared form."""


def _letters(word: str) -> str:
    return "".join(one for one in word.casefold() if one.isalnum())


_NOTHING = frozenset(_letters(word) for words in NO_PLATE.values() for word in words)
_SEPARATOR = re.compile(r" ?[·•・‧∙⋅●.\-‐‑‒–—] ?| ")
"""The separators between the head of a plate and its serial: the dot of GA 36 and what makers and people write."""
_BLANKS = re.compile(r"\s")
_COVERED = re.compile("X{3,}")
"""No serial has three X in a row; recognisers write them for unread characters."""
_DOUBTED = "XX"
_PLAIN = str.maketrans(
    "雲貴魯蘇陝寧粵贛滬晉瓊遼領學掛應臺晥",
    "云贵鲁苏陕宁粤赣沪晋琼辽领学挂应台皖",
)
_SHADE = re.compile(rf"(?:黄绿|渐变绿|[蓝黄白黑绿])(?:牌|色)?(?= ?[{PROVINCES}])")
_SHADES: Mapping[str, str] = {
    "黄绿": "yellow-green", "渐": "green", "蓝": "blue", "黄": "yellow", "白": "white", "黑": "black", "绿": "green",
}  # fmt: skip

_P = f"[{PROVINCES}]"
_S = "[0-9A-Z]"
"""A serial's character before I and O are corrected to 1 and 0; serials never contain I or O (GA 36)."""
_WIDENED = "[DFABCEGHJK]"
"""D and F, and the letters that were added when these ran out."""
_SHAPES: tuple[tuple[str, str, int], ...] = (
    ("emergency", rf"{_P}[A-Z]{_S}{{4}}应急", 2),
    ("police", rf"{_P}[A-Z]{_S}{{4}}警", 2),
    ("learner", rf"{_P}[A-Z]{_S}{{4}}学", 2),
    ("trailer", rf"{_P}[A-Z]{_S}{{4}}挂", 2),
    ("hong-kong", rf"粤Z{_S}{{4}}港", 2),
    ("macau", rf"粤Z{_S}{{4}}澳", 2),
    ("consulate", rf"{_P}[A-Z]{_S}{{4}}领", 2),
    ("embassy", rf"使{_S}{{6}}", 1),
    ("embassy", rf"京[A-Z]{_S}{{4}}使", 2),
    ("wj", rf"WJ{_P}?{_S}{{5}}", 2),
    ("wj", rf"WJ{_P}{_S}{{4}}", 2),
    ("civil-aviation", rf"民航{_S}{{5}}", 2),
    ("new-energy", rf"{_P}[A-Z](?:{_WIDENED}{_S}[0-9IO]{{4}}|[0-9IO]{{5}}{_WIDENED})", 2),
    ("ordinary", rf"{_P}[A-Z]{_S}{{5}}", 2),
    ("military", r"[A-Z]{2}[0-9IO]{5}", 2),
)
"""Kind, shape, and the index at which the serial begins."""
_SHAPE = re.compile("|".join(f"(?P<k{place}>{shape})" for place, (_, shape, _) in enumerate(_SHAPES)))
_KINDS: Mapping[str, tuple[str, int]] = {f"k{place}": (kind, start) for place, (kind, _, start) in enumerate(_SHAPES)}
_COLOURS: Mapping[str, frozenset[str]] = {
    "ordinary": frozenset({"blue", "yellow", "black"}),
    "new-energy": frozenset({"green", "yellow-green", "yellow"}),
    "police": frozenset({"white"}),
    "learner": frozenset({"yellow"}),
    "trailer": frozenset({"yellow"}),
    "hong-kong": frozenset({"black"}),
    "macau": frozenset({"black"}),
    "embassy": frozenset({"black"}),
    "consulate": frozenset({"black"}),
    "military": frozenset({"white"}),
    "wj": frozenset({"white"}),
    "civil-aviation": frozenset({"green"}),
    "emergency": frozenset({"white"}),
}
"""The background colours of a kind; another known colour contradicts it."""
_CONFUSED: tuple[str, ...] = (
    "0O", "0Q", "0D", "0U", "0G", "0B", "1I", "8B", "5S", "2Z", "6G", "7T1", "4A", "MNH", "VY",
    "津沪浙", "鲁鄂", "皖晥", "京宁", "苏赣",
)  # fmt: skip
CONFUSABLE: Mapping[str, str] = {
    one: "".join(sorted({other for group in _CONFUSED if one in group for other in group} - {one}))
    for one in {character for group in _CONFUSED for character in group}
}
"""For each character, those that recognisers confuse it with."""


class Plate(NamedTuple):
    """The compared form of a plate, and its kind."""

    text: str
    kind: str
    colour: str | None = None
    sure: bool = True
    """The kind rests on more than Latin letters and digits."""
    whole: bool = True
    """Every character was read. If not, it matches no list, is no near miss, and is never a repeat."""


def normalise(raw: str) -> str:
    """The form in which plates are compared; empty if the text means that none was read. Idempotent."""
    return _normalise(raw[: 4 * LONGEST])[0]


def classify(raw: str | None, colour: str | None = None, told: str | None = None, *, blanks: str = "") -> Plate | None:
    """The plate and its kind; None: no plate was read.

    `told`: the kind according to the camera. `blanks`: what its maker writes for an unread character, in addition to
    signs that are never separators.
    """
    if raw is None or told == "none":
        return None
    raw = raw[: 4 * LONGEST]
    if blanks:
        raw = raw.translate(dict.fromkeys(map(ord, blanks), UNREAD))
    text, shade = _normalise(raw)
    if not text:
        return None
    colour = colour or shade
    kind = kind_of(text)
    if told == "fake" or (colour is not None and kind != "other" and colour not in _COLOURS[kind]):
        kind = "other"
    sure = kind != "other" and (not text.isascii() or colour == "white" or told == kind)
    return Plate(text, kind, colour, sure, UNREAD not in text and _DOUBTED not in text)


def kind_of(text: str) -> str:
    """The kind of a normalised plate by its shape alone."""
    return _shape(text)


def spellings(text: str) -> list[str]:
    """Every text that differs in exactly one confusable character, plate or not."""
    return [
        text[:place] + other + text[place + 1 :] for place, one in enumerate(text) for other in CONFUSABLE.get(one, "")
    ]


_SERIAL = str.maketrans("IO", "10")


def _normalise(raw: str) -> tuple[str, str | None]:
    """The compared form, and the colour that preceded it in the text."""
    plain = raw.upper()
    if plain[2:3] == "·":
        plain = plain[:2] + plain[3:]
    found = _SHAPE.fullmatch(plain)
    if found is not None and (plain is raw or _KINDS[found.lastgroup or ""][1] == 2) and "XXX" not in plain:
        return _righted(plain, found), None
    said = _plain(raw)
    if not any(map(str.isalnum, said)) or _letters(said) in _NOTHING:
        return "", None
    said = said.upper().translate(_PLAIN)
    shade = _SHADE.match(said)
    colour = None
    if shade is not None:
        colour = next(name for word, name in _SHADES.items() if said.startswith(word))
        said = said[shade.end() :].lstrip()
    said = _without_separator(said)
    text = "".join(one if one.isalnum() else UNREAD for one in said)[: 2 * LONGEST]
    text = _COVERED.sub(lambda run: UNREAD * len(run[0]), text)
    if not text.strip(UNREAD):
        return "", None
    found = _SHAPE.fullmatch(text)
    return (text if found is None else _righted(text, found)), colour


def _plain(raw: str) -> str:
    """The text in half-width characters, stripped, without invisible characters; all white space becomes blanks."""
    said = unicodedata.normalize("NFKC", raw)
    if not said.isprintable():
        said = "".join(one for one in said if unicodedata.category(one) != "Cf")
    return _BLANKS.sub(" ", said).strip()


def _without_separator(said: str) -> str:
    """The text without the one separator before the serial of a complete plate; otherwise unchanged."""
    gap = _SEPARATOR.search(said)
    if gap is None:
        return said
    text = said[: gap.start()] + said[gap.end() :]
    found = _SHAPE.fullmatch(text)
    if found is None:
        return said
    kind, start = _KINDS[found.lastgroup or ""]
    places = {start}
    if "·" in gap[0]:
        # On plates of emergency vehicles the dot follows the province, on WJ plates the province sign.
        places |= {1} if kind == "emergency" else {3} if kind == "wj" and text[2] in PROVINCES else set()
    return text if gap.start() in places else said


def _righted(text: str, shape: re.Match[str]) -> str:
    """The text with I and O of the serial corrected to 1 and 0."""
    if "I" not in text and "O" not in text:
        return text
    _, start = _KINDS[shape.lastgroup or ""]
    return text[:start] + text[start:].translate(_SERIAL)


def _shape(text: str) -> str:
    """The kind by the shape."""
    found = _SHAPE.fullmatch(text)
    return "other" if found is None else _KINDS[found.lastgroup or ""][0]
