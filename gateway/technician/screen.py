"""Tables, progress bars and the live view of a terminal. The only importer of rich; loaded by who draws."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from gateway.printable import harmless

Row = Sequence[str]
Tell = Callable[[int, int, str], None]
"""(done, of, what is being done)."""

_WIDE = 160


class Sheet(NamedTuple):
    """A table: its title, its heads (a leading `>` sets a column to the right), its rows."""

    title: str
    heads: Row
    rows: Sequence[Row]


def show(sheets: Sequence[Sheet]) -> None:
    """Print tables on standard output, wide enough to be read by a program where it is no terminal."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)
    for sheet in sheets:
        console.print(_table(sheet))


@contextmanager
def live() -> Iterator[Callable[[Sequence[Sheet]], None]]:
    """A screen of its own that is drawn anew by each call; what does not fit is cut."""
    console = Console(highlight=False)
    with Live(console=console, screen=True, auto_refresh=False, vertical_overflow="crop") as screen:
        yield lambda sheets: screen.update(Group(*(_table(sheet) for sheet in sheets)), refresh=True)


@contextmanager
def progress() -> Iterator[Tell]:
    """A bar with the time left, on standard error."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(
        *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True), transient=True
    ) as bar:
        task = bar.add_task("", total=None)

        def tell(done: int, of: int, doing: str) -> None:
            bar.update(task, completed=done, total=of, description=harmless(doing))

        yield tell


def _table(sheet: Sheet) -> Table:
    # Text, not markup, and harmless: names and values come from files and devices.
    table = Table(title=Text(harmless(sheet.title)), title_justify="left", box=None, pad_edge=False)
    for head in sheet.heads:
        right = head.startswith(">")
        table.add_column(Text(head.removeprefix(">")), justify="right" if right else "left", overflow="fold")
    for row in sheet.rows:
        table.add_row(*(Text(harmless(cell)) for cell in row))
    return table
