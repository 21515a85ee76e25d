"""A command in a real terminal of 80x24: what stands on the screen, what was written to it, keys that are pressed."""

import asyncio
import fcntl
import os
import pty
import re
import signal
import struct
import sys
import termios
import unicodedata
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

_PATIENCE_S = 30.0
_SEQUENCE = re.compile(r"\x1b(?:\[([?>=]?)([0-9;]*)([@-~])|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][0-9A-B]|[=>78cM])")


class Screen:
    """Just enough of a terminal: moves of the cursor, erasing, scrolling, characters of one and two columns."""

    def __init__(self, rows: int = 24, columns: int = 80) -> None:
        self.rows, self.columns = rows, columns
        self.overflowed = False
        """Something was written beyond the last column."""
        self.scrolled: list[str] = []
        """What left the screen at its top."""
        self.unknown: list[str] = []
        """Sequences that this screen does not know."""
        self._clear()

    def _clear(self) -> None:
        self._cells = [[" "] * self.columns for _ in range(self.rows)]
        self._row = self._column = 0

    @property
    def lines(self) -> list[str]:
        """What stands there; the second column of a wide character is left out."""
        return ["".join(row).rstrip() for row in self._cells]

    @property
    def text(self) -> str:
        """All of it."""
        return "\n".join(self.lines)

    def feed(self, text: str) -> None:
        """What the program wrote."""
        at = 0
        while at < len(text):
            found = _SEQUENCE.match(text, at)
            if found is not None:
                self._obey(found)
                at = found.end()
                continue
            self._put(text[at])
            at += 1

    def _put(self, sign: str) -> None:
        if sign == "\n":
            self._row += 1
            if self._row == self.rows:
                self.scrolled.append(self.lines[0])
                self._cells = [*self._cells[1:], [" "] * self.columns]
                self._row -= 1
        elif sign == "\r":
            self._column = 0
        elif sign == "\b":
            self._column = max(0, self._column - 1)
        elif sign.isprintable():
            self._show(sign)
        elif sign != "\x07":
            self.unknown.append(sign)

    def _show(self, sign: str) -> None:
        width = 0 if unicodedata.combining(sign) else 1 + (unicodedata.east_asian_width(sign) in "WF")
        if width == 0:
            return
        if self._column + width > self.columns:
            self.overflowed = True
            self._column = 0
            self._put("\n")
        self._cells[self._row][self._column] = sign
        if width == 2:
            self._cells[self._row][self._column + 1] = ""
        self._column += width

    def _obey(self, found: re.Match[str]) -> None:
        private, words, end = found[1], found[2], found[3]
        if end is None:
            return
        numbers = [int(word or 0) for word in (words or "").split(";")]
        if private:
            if end == "h" and 1049 in numbers:
                self._clear()
        elif end in "Hf":
            self._row = min(self.rows, max(1, numbers[0])) - 1
            self._column = min(self.columns, max(1, numbers[1] if len(numbers) > 1 else 1)) - 1
        elif end == "A":
            self._row = max(0, self._row - max(1, numbers[0]))
        elif end == "K":
            begin = {0: self._column, 1: 0, 2: 0}[numbers[0]]
            self._cells[self._row][begin:] = [" "] * (self.columns - begin)
        elif end == "J":
            for row in range(0 if numbers[0] == 2 else self._row, self.rows):
                self._cells[row] = [" "] * self.columns
        elif end != "m":
            self.unknown.append(found[0])


class Terminal:
    """A program that runs in one."""

    def __init__(self, process: asyncio.subprocess.Process, master: int, screen: Screen) -> None:
        self.process = process
        self.screen = screen
        self.written = b""
        """Everything that the program wrote."""
        self._master = master
        self._shown = 0
        self._news = asyncio.Event()
        os.set_blocking(master, False)
        asyncio.get_running_loop().add_reader(master, self._readable)

    def _readable(self) -> None:
        try:
            data = os.read(self._master, 1 << 16)
        except OSError:  # EIO: the other side is closed
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._master)
        self.written += data
        text = self.written[self._shown :].decode(errors="ignore")
        if data and not _SEQUENCE.fullmatch(text) and "\x1b" in text[-8:] and not _SEQUENCE.search(text[-8:]):
            return  # the rest of a sequence follows
        self._shown = len(self.written)
        self.screen.feed(text)
        self._news.set()

    def press(self, keys: str) -> None:
        """Type something."""
        os.write(self._master, keys.encode())

    async def until(self, reached: Callable[[Screen], bool]) -> Screen:
        """Wait until the screen shows it. Raises AssertionError with what it shows."""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                while not reached(self.screen):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError as error:
            raise AssertionError(f"the screen shows:\n{self.screen.text}") from error
        return self.screen

    async def shows(self, *words: str) -> Screen:
        """Wait until all of these stand on the screen."""
        return await self.until(lambda screen: all(word in screen.text for word in words))

    async def end(self) -> int:
        """Wait for its end: the exit status. All that it wrote has been read."""
        async with asyncio.timeout(_PATIENCE_S):
            status = await self.process.wait()
            await asyncio.sleep(0)
        while True:
            before = len(self.written)
            with suppress(OSError):
                self._readable()
            if len(self.written) == before:
                return status

    def close(self) -> None:
        """End it if it runs."""
        asyncio.get_running_loop().remove_reader(self._master)
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)
        os.close(self._master)


@asynccontextmanager
async def terminal(
    *words: str | Path, command: tuple[str, ...] | None = None, rows: int = 24, columns: int = 80, **environment: str
) -> AsyncIterator[Terminal]:
    """Run `site-gateway WORDS` (or `command`) with all its streams on a terminal of its own."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))
    process = await asyncio.create_subprocess_exec(
        *(command or (sys.executable, "-m", "gateway", *map(str, words))),
        stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "", "LINES": "", **environment},
    )  # fmt: skip
    os.close(slave)
    it = Terminal(process, master, Screen(rows, columns))
    try:
        yield it
    finally:
        it.close()
        await process.wait()


async def shown(*words: str | Path) -> tuple[int, Terminal]:
    """Run it to its end: status and what it left on the screen."""
    async with terminal(*words) as it:
        return await it.end(), it
