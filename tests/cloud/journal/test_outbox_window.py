"""A window against the plainest thing that could do its work: a list of all rows of the stream."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.cloud.journal.outbox_window import Window
from gateway.cloud.outbox import Row
from gateway.model import Stream

ROWS = 4


class WindowBesideAList(RuleBasedStateMachine):
    """Disk is a set of numbers; what the window gives must be the first row that was not given."""

    def __init__(self) -> None:
        super().__init__()
        self.window = Window(rows=ROWS, sizes=1 << 20)
        self.n = 0
        self.left: list[int] = []
        self.disk: set[int] = set()
        self.given: set[int] = set()
        self.fetch: tuple[int, int] | None = None

    def row(self, n: int) -> Row:
        return Row(n, Stream.ALARM, n, b"x" * n)

    @rule(written=st.booleans())
    def offer(self, *, written: bool) -> None:
        if written and any(n not in self.disk for n in self.left):
            written = False  # the store is written in order
        self.n += 1
        self.left.append(self.n)
        if written:
            self.disk.add(self.n)
        self.window.offer(self.row(self.n), written=written, soft=False)

    @rule()
    def write(self) -> None:
        for n in self.left:
            if n not in self.disk:
                self.disk.add(n)
                self.window.written(n)
                return

    @rule()
    def take(self) -> None:
        expected = next((n for n in self.left if n not in self.given), None)
        row = self.window.take()
        if row is None:
            assert expected is None or self.window.more
        else:
            assert row == self.row(row.n)
            assert row.n == expected
            self.given.add(row.n)

    @precondition(lambda self: self.left)
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        n = data.draw(st.sampled_from(self.left))
        if n not in self.given:
            return
        assert self.window.acknowledge(n)
        assert not self.window.acknowledge(n)
        self.left.remove(n)
        self.given.discard(n)
        if n in self.disk:
            self.window.leaving.add(n)

    @rule()
    def commit(self) -> None:
        """The disk learns what has left."""
        if self.fetch is None:
            self.disk -= self.window.leaving
            self.window.leaving.clear()

    @rule()
    def rewind(self) -> None:
        self.window.rewind()
        self.given.clear()

    @precondition(lambda self: self.window.wants and self.fetch is None)
    @rule()
    def begin_fetch(self) -> None:
        self.window.fetching = True
        self.fetch = self.window.cursor, self.window.generation

    @precondition(lambda self: self.fetch is not None)
    @rule(limit=st.integers(1, 6))
    def end_fetch(self, limit: int) -> None:
        assert self.fetch is not None
        (after, generation), self.fetch = self.fetch, None
        found = sorted(n for n in self.disk if n > after)
        rows = [(self.row(n), False) for n in found[:limit]]
        self.window.fetched(generation, rows, complete=len(found) < limit)

    @rule()
    def reload(self) -> None:
        self.window.reload()

    @invariant()
    def counts(self) -> None:
        assert self.window.waiting == len(self.left)
        assert set(self.window.given) == self.given
        assert set(self.window.unwritten) == {n for n in self.left if n not in self.disk}
        assert sum(len(row.payload) for row in self.window) - sum(self.given) == self.window.size


WindowBesideAList.TestCase.settings = settings(max_examples=150, stateful_step_count=60)
TestWindow = WindowBesideAList.TestCase


def window(count: int, *, written: bool = True) -> Window:
    made = Window(rows=ROWS, sizes=1 << 20)
    for n in range(1, count + 1):
        made.offer(Row(n, Stream.ALARM, n, b"x"), written=written, soft=False)
    return made


def test_memory_is_bounded() -> None:
    assert len(window(100)) == ROWS
    assert window(100).waiting == 100


def test_what_is_in_memory_does_not_wait_for_a_disk_that_cannot_be_read() -> None:
    rows = window(10)
    rows.offer(Row(11, Stream.ALARM, 11, b"live"), written=False, soft=False)
    rows.skip()
    assert [row.n for row in iter(rows.take, None)] == [1, 2, 3, 4, 11]
    rows.reload()
    rows.fetched(rows.generation, [(Row(n, Stream.ALARM, n, b"x"), False) for n in range(1, 11)], complete=True)
    assert [row.n for row in iter(rows.take, None)] == [5, 6, 7, 8, 9, 10]


def test_what_was_given_past_a_disk_that_could_not_be_read_goes_back_into_its_place() -> None:
    rows = window(10)
    rows.offer(Row(11, Stream.ALARM, 11, b"live"), written=False, soft=False)
    rows.skip()
    assert [row.n for row in iter(rows.take, None)] == [1, 2, 3, 4, 11]
    rows.reload()
    rows.rewind()
    rows.fetched(rows.generation, [(Row(n, Stream.ALARM, n, b"x"), False) for n in range(1, 11)], complete=True)
    assert [row.n for row in iter(rows.take, None)] == [*range(1, 12)]


def test_what_was_shed_is_not_given() -> None:
    rows = window(4)
    rows.take()
    rows.shed(2, 2)
    assert rows.waiting == 2
    assert [row.n for row in iter(rows.take, None)] == [3, 4]


def test_only_what_was_not_given_can_be_dropped() -> None:
    rows = window(3, written=False)
    rows.take()
    assert not rows.drop(1)
    assert rows.drop(2)
    assert [row.n for row in iter(rows.take, None)] == [3]
