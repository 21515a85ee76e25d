"""A table, before anybody draws it. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

Row = Sequence[str]


class PrintedTable(NamedTuple):
    """Its title, its heads (a leading `>` sets a column to the right), its rows."""

    title: str
    heads: Row
    rows: Sequence[Row]
