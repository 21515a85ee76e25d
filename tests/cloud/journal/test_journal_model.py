"""The journal against a list in memory, through kills and restarts."""

import asyncio
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from gateway.cloud.journal.journal import Journal
from gateway.cloud.outbox import Row
from gateway.model import Emit, Forget, Remember, Stream
from tests.cloud.journaling import Hands, accepted, emit, journal, taken

STREAMS = (Stream.ALARM, Stream.AUDIT)


class Expected:
    """What one stream must give: ids by sequence, in order."""

    def __init__(self) -> None:
        self.ids: dict[int, str] = {}
        self.waiting: list[int] = []
        self.aside: list[int] = []
        self.given: list[Row] = []
        self.offered_again: list[int] = []
        """Rows set aside that this connection may still get."""
        self.payloads: dict[int, bytes] = {}

    def next(self) -> int | None:
        taken = {row.sequence for row in self.given}
        live = next((one for one in self.waiting if one not in taken), None)
        return live if live is not None else next(iter(self.offered_again), None)

    def rewind(self, *, everything: bool) -> None:
        if everything:
            self.given.clear()
            self.offered_again = list(self.aside)
        else:
            self.given = [row for row in self.given if row.sequence in self.aside]


class JournalBesideAList(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="journal-"))
        self.runner = asyncio.Runner()
        self.lives = 0
        self.hands = Hands()
        self.streams = {stream: Expected() for stream in STREAMS}
        self.memory: dict[str, int] = {}
        self.telemetry: dict[int, bytes] = {}
        self.name: str | None = None
        self.journal: Journal
        self.open()

    def open(self) -> None:
        self.lives += 1
        self.journal = journal(self.folder / str(self.lives), self.hands)
        self.runner.run(self.journal.__aenter__())
        self.runner.run(accepted(self.journal, []))
        assert self.journal.memory == self.memory
        assert self.name in (None, self.journal.journal_id)
        self.name = self.journal.journal_id
        for expected in self.streams.values():
            expected.rewind(everything=True)
        audit = self.streams[Stream.AUDIT]
        for sequence in range(len(audit.ids) + 1, self.journal.last(Stream.AUDIT) + 1):
            self.arrived(Stream.AUDIT, sequence, "shed")

    def arrived(self, stream: Stream, sequence: int, name: str) -> None:
        self.streams[stream].ids[sequence] = name
        self.streams[stream].waiting.append(sequence)

    @rule(count=st.integers(0, 4), stream=st.sampled_from(STREAMS), key=st.sampled_from("abc"), value=st.integers())
    def append(self, count: int, stream: Stream, key: str, value: int) -> None:
        events = [emit(stream, at=self.hands.run(0.1)) for _ in range(count)]
        last: Remember | Forget = Remember(key, value % (1 << 53)) if value % 4 else Forget(key)
        if isinstance(last, Remember):
            self.memory[key] = value % (1 << 53)
        else:
            self.memory.pop(key, None)
        effects: list[Emit | Remember | Forget] = [*events, last]
        first = self.journal.last(stream) + 1
        self.runner.run(accepted(self.journal, effects))
        for sequence, event in enumerate(events, first):
            self.arrived(stream, sequence, event.id)

    @rule(stream=st.sampled_from(STREAMS), count=st.integers(1, 3))
    def take(self, stream: Stream, count: int) -> None:
        expected = self.streams[stream]
        for _ in range(count):
            sequence = expected.next()
            if sequence is None:
                assert self.journal.take(stream) is None
                return
            (row,) = self.runner.run(taken(self.journal, stream, 1))
            assert row.sequence == sequence
            name = expected.ids[sequence]
            assert name == "shed" or f'"id":"{name}"'.encode() in row.payload
            assert expected.payloads.setdefault(sequence, row.payload) == row.payload
            expected.given.append(row)
            if sequence in expected.offered_again:
                expected.offered_again.remove(sequence)

    @rule(stream=st.sampled_from(STREAMS), data=st.data())
    def leave(self, stream: Stream, data: st.DataObject) -> None:
        expected = self.streams[stream]
        if not expected.given:
            return
        row = expected.given.pop(data.draw(st.integers(0, len(expected.given) - 1)))
        if row.sequence in expected.aside:
            self.journal.acknowledge(row)
            expected.aside.remove(row.sequence)
            return
        expected.waiting.remove(row.sequence)
        if data.draw(st.booleans()):
            self.journal.acknowledge(row)
        else:
            self.journal.quarantine(row, "refused")
            expected.aside = sorted([*expected.aside, row.sequence])

    @rule(stream=st.sampled_from([None, *STREAMS]))
    def rewind(self, stream: Stream | None) -> None:
        self.journal.rewind(stream)
        for one, expected in self.streams.items():
            if stream in (None, one):
                expected.rewind(everything=stream is None)

    @rule(stream=st.sampled_from(STREAMS))
    def count(self, stream: Stream) -> None:
        expected = self.streams[stream]
        assert self.journal.waiting(stream) == len(expected.waiting)
        assert self.journal.stats().streams[stream].quarantined == len(expected.aside)

    @rule(acknowledge=st.booleans())
    def measure(self, *, acknowledge: bool) -> None:
        self.runner.run(self.tell())
        row = self.journal.take(Stream.TELEMETRY)
        if row is not None:
            assert self.telemetry.setdefault(row.sequence, row.payload) == row.payload
            if acknowledge:
                self.journal.acknowledge(row)

    async def tell(self) -> None:
        self.journal.telemetry("d", {}, self.hands.run(0.1))

    @rule()
    def restart(self) -> None:
        self.runner.run(self.journal.__aexit__(None, None, None))
        shutil.copytree(self.folder / str(self.lives), self.folder / str(self.lives + 1))
        self.open()

    @rule()
    def crash(self) -> None:
        """What is in the files goes on in another life; acknowledgements on their way there first."""
        self.runner.run(accepted(self.journal, []))
        before, after = self.folder / str(self.lives), self.folder / str(self.lives + 1)
        after.mkdir()
        # The -wal first: what moves from it into the file meanwhile is then in both.
        for name in ("journal.db-log", "journal.db-wal", "journal.db-shm", "journal.db"):
            if (before / name).exists():
                shutil.copy(before / name, after / name)
        self.runner.run(self.journal.__aexit__(None, None, None))
        self.open()

    def teardown(self) -> None:
        self.runner.run(self.journal.__aexit__(None, None, None))
        self.runner.close()
        shutil.rmtree(self.folder)


JournalBesideAList.TestCase.settings = settings(max_examples=25, stateful_step_count=30)
TestJournalModel = JournalBesideAList.TestCase
