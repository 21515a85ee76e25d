"""Translates makers' codes for kinds of plates into the site's terms. Pure."""

from collections.abc import Mapping

GAT: Mapping[int, str] = {
    1: "ordinary", 2: "ordinary", 3: "embassy", 4: "consulate", 15: "trailer", 16: "learner", 17: "learner",
    23: "police", 24: "police", 26: "hong-kong", 27: "macau", 31: "wj", 32: "military", 42: "fake",
    51: "new-energy", 52: "new-energy",
}  # fmt: skip
"""GA 24.7, kinds of number plates; used by GA/T 1400 (PlateClass) and by Hikvision (palteTypeByGAT)."""

GAT_COLOURS: Mapping[int, str] = {1: "black", 2: "white", 5: "blue", 6: "yellow", 9: "green"}
"""GA/T 1400.3, ColorType."""

_WORDS = (
    ("wj", "wj"), ("armedpolice", "wj"), ("police", "police"), ("jingche", "police"), ("milita", "military"),
    ("embassy", "embassy"), ("shiguan", "embassy"), ("consul", "consulate"), ("lingguan", "consulate"),
    ("emergency", "emergency"), ("aviation", "civil-aviation"), ("coach", "learner"), ("learner", "learner"),
    ("trailer", "trailer"), ("newenergy", "new-energy"), ("hongkong", "hong-kong"), ("macau", "macau"),
    ("macao", "macau"),
)  # fmt: skip


def by_word(word: str) -> str | None:
    """The kind named in a maker's word."""
    word = word.lower().replace("_", "").replace("-", "").replace(" ", "")
    return next((kind for part, kind in _WORDS if part in word), None)
