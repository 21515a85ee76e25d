"""Lays tables out in lines of a given width, and finds the smallest update from one screen to another.

Pure. Widths are columns of the terminal: Chinese characters take two (Unicode Standard Annex 11).
"""

import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from gateway.printable import harmless

_GAP = 1
_LEAST = 4
"""The smallest width of a cell."""
PLAIN, BOLD, RED, REVERSE = "", "1", "1;31", "7"


Row = Sequence[str]


class PrintedTable(NamedTuple):
    """A table: title, headings (a leading `>` aligns right), rows."""

    title: str
    heads: Row
    rows: Sequence[Row]


class ScreenLine(NamedTuple):
    """A line of text and its style (SGR parameters)."""

    text: str
    style: str = PLAIN


def width(text: str) -> int:
    """The width of a text in columns."""
    if text.isascii():
        return len(text)
    return sum(map(_width, text))


def cut(text: str, columns: int) -> str:
    """As much of a text as fits, with a mark if cut."""
    if width(text) <= columns:
        return text
    kept, used = [], 0
    for sign in text:
        used += _width(sign)
        if used > columns - 1:
            break
        kept.append(sign)
    return "".join(kept) + "…" if columns > 0 else ""


def lines(sheet: PrintedTable, columns: int, words: str = "") -> list[ScreenLine]:
    """A sheet without its title: headings and rows that contain `words`; empty if no row does."""
    shown = [[harmless(cell) for cell in row] for row in sheet.rows if _has(row, words)]
    if not shown:
        return []
    heads = [head.removeprefix(">") for head in sheet.heads]
    right = [head.startswith(">") for head in sheet.heads]
    widths = _fitted([max(width(row[at]) for row in (heads, *shown)) for at in range(len(heads))], columns)
    return [
        ScreenLine(_row(heads, widths, right), BOLD),
        *(ScreenLine(_row(row, widths, right), RED if row[0] == "critical" else PLAIN) for row in shown),
    ]


def change(old: Sequence[ScreenLine], new: Sequence[ScreenLine]) -> str:
    """What to write to change a screen from `old` to `new`, which has the same number of lines."""
    parts = []
    for number, (before, after) in enumerate(zip(old, new, strict=True), 1):
        if before == after:
            continue
        same = _same(before.text, after.text) if before.style == after.style else 0
        rest = after.text[same:]
        looks = f"\x1b[{after.style}m{rest}\x1b[m" if after.style and rest else rest
        erase = "\x1b[K" if width(before.text) > width(after.text) else ""
        parts.append(f"\x1b[{number};{width(after.text[:same]) + 1}H{looks}{erase}")
    return "".join(parts)


def _same(one: str, other: str) -> int:
    """The length of the common beginning; a combining mark stays with its base character."""
    number = 0
    for mine, theirs in zip(one, other, strict=False):
        if mine != theirs:
            break
        number += 1
    while number and number < len(other) and not _width(other[number]):
        number -= 1
    return number


def _has(row: Row, words: str) -> bool:
    return not words or words.lower() in " ".join(row).lower()


def _fitted(widths: list[int], columns: int) -> list[int]:
    """Reduce widths to fit, the widest first."""
    room = columns - _GAP * (len(widths) - 1)
    widths = list(widths)
    while sum(widths) > room and max(widths) > _LEAST:
        widths[widths.index(max(widths))] -= 1
    return widths


def _row(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    parts = []
    for cell, columns, is_right in zip(cells, widths, right, strict=True):
        shown = cut(cell, columns)
        blank = " " * (columns - width(shown))
        parts.append(blank + shown if is_right else shown + blank)
    return (" " * _GAP).join(parts).rstrip()


def _width(sign: str) -> int:
    if unicodedata.combining(sign) or unicodedata.category(sign) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(sign) in "WF" else 1
