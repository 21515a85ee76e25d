"""The live view: a list that scrolls and filters; only changes are drawn; keys `q`, arrows, `/`."""

import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from gateway.errors import NotAnswering
from gateway.printable import harmless
from gateway.technician.layout import BOLD, REVERSE, PrintedTable, ScreenLine, change, cut, lines

_AWAY_S = 60.0
"""How long the daemon may be away, as in a restart."""
_ENTER = "\x1b[?1049h\x1b[?25l\x1b[2J"
_LEAVE = "\x1b[?25h\x1b[?1049l"
_KEYS = {
    "\x1b[A": "up", "k": "up", "\x1b[B": "down", "j": "down", "\x1b[5~": "page up", "b": "page up",
    "\x1b[6~": "page down", " ": "page down", "\x1b[H": "top", "g": "top", "\x1b[F": "end", "G": "end",
    "q": "quit", "Q": "quit", "\x03": "quit", "/": "filter", "\x1b": "all",
}  # fmt: skip
_HELP = "q quit   arrows, space, b scroll   / filter"


class View:
    """The visible part of the sheets, and how keys change it. Pure."""

    def __init__(self) -> None:
        self.words = ""
        """The filter: only rows with these words."""
        self.typing: str | None = None
        """The filter while it is being typed."""
        self.notice = ""
        self._offset = 0
        self._body = 1
        self._count = 0

    def picture(self, sheets: Sequence[PrintedTable], rows: int, columns: int) -> list[ScreenLine]:
        """The screen in `rows` lines: overall state, visible part of the list, keys."""
        body = []
        for number, sheet in enumerate(sheets):
            shown = lines(sheet, columns, self.words if self.typing is None else self.typing)
            if number and shown:
                body += [ScreenLine(""), ScreenLine(cut(sheet.title, columns), BOLD)]
            body += shown
        self._body, self._count = max(1, rows - 2), len(body)
        self._offset = max(0, min(self._offset, self._count - self._body))
        seen = body[self._offset : self._offset + self._body]
        blank = [ScreenLine("")] * (self._body - len(seen))
        top = ScreenLine(cut(harmless(self.notice or sheets[0].title), columns), REVERSE)
        return [top, *seen, *blank, ScreenLine(cut(self._foot(), columns), REVERSE)][:rows]

    def press(self, key: str) -> bool:
        """Handle a key; False: quit."""
        if self.typing is not None and key not in ("\x1b", "\x03"):
            self._type(key)
            return True
        match _KEYS.get(key):
            case "quit":
                return False
            case "filter":
                self.typing = self.words
            case "all":
                self.words, self.typing = "", None
            case "up" | "down" as way:
                self._offset += 1 if way == "down" else -1
            case "page up" | "page down" as way:
                self._offset += self._body if way == "page down" else -self._body
            case "top":
                self._offset = 0
            case "end":
                self._offset = self._count
        return True

    def _type(self, key: str) -> None:
        words = self.typing or ""
        if key in "\r\n":
            self.words, self.typing, self._offset = words, None, 0
        elif key in ("\x7f", "\b"):
            self.typing = words[:-1]
        elif key.isprintable():
            self.typing = words + key

    def _foot(self) -> str:
        if self.typing is not None:
            return f"/{self.typing}_   Enter keeps it, Esc shows all"
        shown = f"{min(self._count, self._offset + 1)}-{min(self._count, self._offset + self._body)} of {self._count}"
        return f"{shown}   {_HELP}" + (f": {self.words} (Esc: all)" if self.words else "")


def show_live(fetch: Callable[[], Sequence[PrintedTable]], every: float) -> None:
    """Draw the result of `fetch` every `every` seconds until `q`. Raises ConnectionError if away for over a minute.

    A function: the screen knows nothing of what it shows.
    """
    sheets, view = fetch(), View()
    old: list[ScreenLine] = []
    seen = time.monotonic()
    due = seen + every
    with _screen():
        while True:
            size = _size()
            new = view.picture(sheets, *size)
            if len(old) != len(new):
                _write("\x1b[2J")
                old = [ScreenLine("")] * len(new)
            _write(change(old, new))
            old = new
            for key in _keys(due):
                if not view.press(key):
                    return
            if _size() != size:
                old = []
            if time.monotonic() < due:
                continue
            try:
                sheets, view.notice, seen = fetch(), "", time.monotonic()
            except (ConnectionError, NotAnswering) as error:
                if time.monotonic() - seen > _AWAY_S:
                    raise
                view.notice = f"AWAY for {time.monotonic() - seen:.0f} s, below is how it was: {error}"
            due = time.monotonic() + every


def _keys(until: float) -> list[str]:
    """Wait for keys, at most until `until`."""
    if not sys.stdin.isatty():
        select.select([], [], [], max(0.0, until - time.monotonic()))
        return []
    readable, _, _ = select.select([0], [], [], max(0.0, until - time.monotonic()))
    if not readable:
        return []
    text = os.read(0, 1024).decode(errors="ignore")
    if not text:
        return ["q"]  # the terminal is gone
    found = []
    while text:
        key = next((one for one in sorted(_KEYS, key=len, reverse=True) if text.startswith(one)), text[0])
        if key == "\x1b" and text[1:2] == "[":  # another key
            end = next((at for at, sign in enumerate(text[2:], 3) if "@" <= sign <= "~"), len(text))
            text = text[end:]
            continue
        found.append(key)
        text = text[len(key) :]
    return found


@contextmanager
def _screen() -> Iterator[None]:
    """Switch the terminal to single keys and an alternate screen; always restored at the end."""
    before: list[Any] | None = None

    def end(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    try:
        if sys.stdin.isatty():
            before = termios.tcgetattr(0)
            tty.setcbreak(0)
        _write(_ENTER)
        yield
    finally:
        _write(_LEAVE)
        if before is not None:
            termios.tcsetattr(0, termios.TCSADRAIN, before)


def _size() -> tuple[int, int]:
    """Rows and columns."""
    size = os.get_terminal_size(1)
    return size.lines or 24, size.columns or 80


def _write(text: str) -> None:
    data = text.encode(errors="replace")
    while data:
        data = data[os.write(1, data) :]
