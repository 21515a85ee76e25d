"""Tables and progress bars in the terminal. The only importer of rich; loaded only when drawing."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from gateway.printable import harmless
from gateway.technician.layout import PrintedTable

_WIDE = 160


def show(sheets: Sequence[PrintedTable]) -> None:
    """Print tables on standard output; if that is not a terminal, wide enough for a program to read."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)
    for sheet in sheets:
        console.print(Text(harmless(sheet.title)), soft_wrap=True)
        if sheet.rows:
            console.print(_table(sheet))


class Bar:
    """A progress bar with the time left, on standard error, and lines above it."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("", total=None, visible=False)

    def tell(self, done: int, of: int, doing: str) -> None:
        """Set the progress."""
        self._bar.update(self._task, completed=done, total=of, description=harmless(doing), visible=True)

    def say(self, line: str) -> None:
        """Print a line above it."""
        self._bar.console.print(Text(harmless(line)), soft_wrap=True)


@contextmanager
def progress() -> Iterator[Bar]:
    """Show a bar within this context."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(
        *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True), transient=True
    ) as bar:
        yield Bar(bar)


def _table(sheet: PrintedTable) -> Table:
    # As text, not markup, and without control characters: names and values come from files and devices.
    table = Table(box=None, pad_edge=False)
    for head in sheet.heads:
        right = head.startswith(">")
        table.add_column(Text(head.removeprefix(">")), justify="right" if right else "left", overflow="fold")
    for row in sheet.rows:
        table.add_row(*(Text(harmless(cell)) for cell in row))
    return table
