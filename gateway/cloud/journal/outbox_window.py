"""The part of one stream's outbox that is at hand in memory. Pure.

In the order of `n`: rows *given* and not acknowledged, rows *ahead* in memory, then either nothing or
(`more`) rows that are on disk only. Rows that are not on disk yet are `unwritten`; they come after all
rows on disk, because the store is written in order.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator

from gateway.cloud.outbox import Row

_ROWS = 512
_BYTES = 4 << 20


class Window:
    """Bounded by rows and bytes; what does not fit stays on disk and is fetched later."""

    __slots__ = (
        "_ahead", "_rows", "_size", "_sizes", "cursor", "fetching", "generation", "given", "hungry", "leaving", "more",
        "skipped", "soft", "unwritten", "waiting",
    )  # fmt: skip

    def __init__(self, rows: int = _ROWS, sizes: int = _BYTES) -> None:
        self._rows = rows
        self._sizes = sizes
        self._ahead: OrderedDict[int, Row] = OrderedDict()
        self._size = 0
        self.given: OrderedDict[int, Row] = OrderedDict()
        self.unwritten: dict[int, Row] = {}
        self.soft: set[int] = set()
        """Rows at hand or unwritten whose time may still be corrected."""
        self.leaving: set[int] = set()
        """Rows that left, which the disk does not know yet; whoever fetches must not see them again."""
        self.cursor = 0
        """`n` of the last row that came to hand."""
        self.more = False
        self.skipped = False
        """Rows on disk were passed over because the disk could not be read."""
        self.fetching = False
        self.generation = 0
        """Changes when a fetch that is under way has become useless."""
        self.waiting = 0
        self.hungry = False
        """The last `take` found nothing and nothing came since."""

    def __len__(self) -> int:
        return len(self._ahead)

    def __iter__(self) -> Iterator[Row]:
        """Every row in memory, oldest first."""
        yield from self.given.values()
        yield from self._ahead.values()

    @property
    def size(self) -> int:
        """Bytes of the rows ahead."""
        return self._size

    @property
    def wants(self) -> bool:
        """It is time to fetch from disk."""
        return (
            self.more
            and not self.fetching
            and len(self._ahead) <= self._rows // 2
            and self._size <= self._sizes // 2
        )  # fmt: skip

    def peek(self) -> Row | None:
        """The row that `take` would give."""
        for row in self._ahead.values():
            return row
        return None

    def take(self) -> Row | None:
        """The next row; it counts as given until acknowledged or rewound."""
        if not self._ahead:
            return None
        n, row = self._ahead.popitem(last=False)
        self._size -= row.size
        self.given[n] = row
        return row

    def offer(self, row: Row, *, written: bool, soft: bool) -> None:
        """A new row, the youngest of its stream."""
        self.waiting += 1
        self.hungry = False
        if not written:
            self.unwritten[row.n] = row
            if soft:
                self.soft.add(row.n)
        if self.more or len(self._ahead) >= self._rows or self._size >= self._sizes:
            self.more = True
        else:
            self._append(row, soft=soft)

    def written(self, n: int) -> None:
        """The row is on disk now."""
        if self.unwritten.pop(n, None) is not None and n not in self._ahead:
            self.soft.discard(n)

    def acknowledge(self, n: int) -> bool:
        """The row has left; False if it is not known here."""
        self.unwritten.pop(n, None)
        if self.given.pop(n, None) is None:
            row = self._ahead.pop(n, None)
            if row is None:
                return False
            self._size -= row.size
        self.soft.discard(n)
        self.waiting -= 1
        return True

    def rewind(self) -> None:
        """Begin again at the oldest row that was not acknowledged."""
        self._size += sum(row.size for row in self.given.values())
        self.given.update(self._ahead)
        self._ahead, self.given = self.given, OrderedDict()
        self.hungry = False
        if self.more and any(n > self.cursor for n in self._ahead):
            # Given before the disk was read anew: what lies on disk between them goes first.
            self._cut(self.cursor + 1)

    def fetched(self, generation: int, rows: Iterable[tuple[Row, bool]], *, complete: bool) -> None:
        """Rows from disk after `cursor`, and whether those were all there are."""
        self.fetching = False
        if generation != self.generation:
            return
        for row, soft in rows:
            if row.n in self.given or row.n in self.leaving:
                self.cursor = row.n
            else:
                self._append(row, soft=soft)
        if complete:
            self._catch_up()

    def skip(self) -> None:
        """The disk cannot be read: go on with what is in memory, come back for the rest with `reload`."""
        self.generation += 1
        self.fetching = False
        self.skipped = True
        self._catch_up()

    def reload(self) -> None:
        """Begin again with the disk, except for the rows given. All rows must be on disk or unwritten."""
        self._cut(0)
        self.skipped = False

    def cut_soft(self) -> bool:
        """Fetch again from the first row on whose content may have changed; False if there is none."""
        first = next((n for n in self._ahead if n in self.soft), None)
        if first is None:
            return False
        self._cut(first)
        return True

    def replace(self, row: Row) -> None:
        """The row's content was corrected before its first sending."""
        if row.n in self.unwritten:
            self.unwritten[row.n] = row
        if row.n in self._ahead:
            self._size += row.size - self._ahead[row.n].size
            self._ahead[row.n] = row
        self.soft.discard(row.n)

    def rewrite(self, change: Callable[[Row], Row]) -> None:
        """Put another content in place of that of rows in memory; `change` gives back those that it leaves alone."""
        for rows in (self._ahead, self.given, self.unwritten):
            for n, row in rows.items():
                other = change(row)
                if other is not row:
                    self._size += other.size - row.size if rows is self._ahead else 0
                    rows[n] = other

    def gone(self, n: int) -> None:
        """One row on disk is no more, at hand or not."""
        if n not in self.leaving and not self.acknowledge(n):
            self.waiting -= 1

    def shed(self, upto: int, count: int) -> None:
        """`count` rows up to `n` = `upto` are no more."""
        for n in [n for n in self._ahead if n <= upto]:
            self._size -= self._ahead.pop(n).size
            self.soft.discard(n)
            self.unwritten.pop(n, None)
        for n in [n for n in self.given if n <= upto]:
            del self.given[n]
        self.waiting -= count - sum(1 for n in self.leaving if n <= upto)

    def drop(self, n: int) -> bool:
        """One row that is in memory only is no more; False if it was given already."""
        if n in self.given:
            return False
        row = self._ahead.pop(n, None)
        if row is not None:
            self._size -= row.size
        if row is not None or n in self.unwritten:
            self.waiting -= 1
        self.unwritten.pop(n, None)
        self.soft.discard(n)
        return True

    def strip(self, n: int) -> None:
        """Let go of a picture's bytes; the row is on disk and comes from there when it is needed again."""
        if n in self.given and n not in self.unwritten:
            self.given[n] = self.given[n]._replace(jpeg=None)

    def _append(self, row: Row, *, soft: bool) -> None:
        self._ahead[row.n] = row
        self._size += row.size
        self.cursor = row.n
        if soft:
            self.soft.add(row.n)

    def _catch_up(self) -> None:
        self.more = False
        for n, row in self.unwritten.items():
            if n > self.cursor and n not in self.given:
                self._append(row, soft=n in self.soft)

    def _cut(self, first: int) -> None:
        """Forget the rows ahead from `n` = `first` on; they are fetched again."""
        for n in [n for n in self._ahead if n >= first]:
            self._size -= self._ahead.pop(n).size
            if n not in self.unwritten:
                self.soft.discard(n)
        self.generation += 1
        self.fetching = False
        self.more = True
        self.cursor = first - 1 if first else 0
