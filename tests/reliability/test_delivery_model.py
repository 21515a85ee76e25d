"""Journal and uplink against a model: whatever is done to broker, links and process, nothing is lost or invented.

Real parts: the journal's file, the uplink's sockets and threads, a broker that refuses on demand. A crash is the copy
of the files as they are at that instant, opened by a new journal.
"""

import asyncio
import itertools
import shutil
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from gateway.clock import Clock
from gateway.cloud.journal.journal import Journal
from gateway.cloud.mqtt.types import Limits
from gateway.cloud.mqtt.uplink import Uplink
from gateway.model import Emit, Forget, Remember, Stream
from simulators.broker import LocalBroker
from simulators.broker_faults import WITHHELD
from simulators.packets import PublishPacket
from tests.cloud import running as uplinks

LIMITS = Limits(answer=1.0, retry_first=0.05, retry_quick=0.2, retry_last=0.3)
STREAMS = (Stream.ALARM, Stream.ACCESS, Stream.AUDIT)
CODES = (0x80, 0x83, 0x87, 0x90, 0x97, 0x99, WITHHELD)
HEALED_WITHIN = 20.0
WHOLE = settings(deadline=None, suppress_health_check=list(HealthCheck), phases=(Phase.explicit, Phase.generate))
"""Without shrinking: a run takes seconds."""


class Delivery(RuleBasedStateMachine):
    """One site's way to the broker, over many lives."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="delivery-"))
        self.runner = asyncio.Runner()
        self.lives = itertools.count(1)
        self.ids = itertools.count(1)
        self.accepted: dict[Stream, list[str]] = {stream: [] for stream in STREAMS}
        self.appended: set[str] = set()
        self.refused: dict[Stream, int] = {}
        self.first: dict[Stream, list[tuple[int, str]]] = {stream: [] for stream in STREAMS}
        self.payloads: dict[str, bytes] = {}
        self.read = 0
        self.broker_up = True
        self.broker = LocalBroker()
        self.broker.faults.verdict = self._verdict
        self.runner.run(self.broker.start())
        self._live(self.folder / str(next(self.lives)))

    # ---- the lives ----

    def _live(self, folder: Path) -> None:
        self.end = asyncio.Event()
        self.journal = Journal(folder, source="/sites/s/gateways/g", now=Clock().now, alarm_reserve=0)
        loop = self.runner.get_loop()
        self.life = loop.create_task(self._life(self.journal, self.end), name="life")
        self.runner.run(until(lambda: self.journal.journal_id != "" and self.uplink is not None))

    async def _life(self, journal: Journal, end: asyncio.Event) -> None:
        self.uplink: Uplink | None = None
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(journal)
            where = uplinks.settings(self.broker.port, LIMITS)
            uplink = uplinks.an_uplink(where, journal)
            uplink.set_standing({}, 0)
            async with asyncio.TaskGroup() as group:
                task = group.create_task(uplink.run(), name="uplink")
                self.uplink = uplink
                await end.wait()
                task.cancel()

    def _end(self) -> None:
        self.end.set()
        self.runner.run(finished(self.life))

    def _verdict(self, message: PublishPacket) -> int | None:
        return next(
            (code for stream, code in self.refused.items() if message.topic == f"{uplinks.ROOT}/{stream}"), None
        )

    # ---- what may happen ----

    @rule(streams=st.lists(st.sampled_from(STREAMS), min_size=1, max_size=5), steps=st.integers(1, 20))
    def append(self, streams: list[Stream], steps: int) -> None:
        for _ in range(steps):
            ids = [(stream, f"id-{next(self.ids)}") for stream in streams]
            at = Clock().now()
            effects: list[Emit | Remember | Forget] = [
                Emit(stream, f"{stream}.test", None, {"n": name}, name, at) for stream, name in ids
            ]
            self.appended.update(name for _, name in ids)

            def take(ids: list[tuple[Stream, str]] = ids) -> None:
                for stream, name in ids:
                    self.accepted[stream].append(name)

            self.runner.run(self._append([*effects, Remember("last", ids[-1][1])], take))

    async def _append(self, effects: list[Emit | Remember | Forget], take: Any) -> None:
        self.journal.append(effects, then=take)

    @rule(seconds=st.sampled_from([0.0, 0.001, 0.01, 0.05, 0.3]))
    def wait(self, seconds: float) -> None:
        self.runner.run(asyncio.sleep(seconds))

    @rule(stream=st.sampled_from(STREAMS), code=st.sampled_from(CODES))
    def refuse(self, stream: Stream, code: int) -> None:
        self.refused[stream] = code

    @precondition(lambda self: bool(self.refused))
    @rule()
    def accept(self) -> None:
        self.refused.clear()

    @precondition(lambda self: self.broker_up)
    @rule()
    def broker_down(self) -> None:
        self.runner.run(self.broker.stop())
        self.broker_up = False

    @precondition(lambda self: not self.broker_up)
    @rule()
    def broker_back(self) -> None:
        self.runner.run(self.broker.start())
        self.broker_up = True

    @rule(beginning=st.sampled_from([b"", b"\x40", b"\x40\x02\x00"]))
    def reset(self, beginning: bytes) -> None:
        self.runner.run(self._reset(beginning))

    async def _reset(self, beginning: bytes) -> None:
        self.broker.reset(beginning)

    @rule()
    def crash(self) -> None:
        """The files as a kill at this instant leaves them; what was accepted until now must be in them."""
        number = next(self.lives)
        old, new = self.folder / str(number - 1), self.folder / str(number)
        new.mkdir()
        known = {stream: list(names) for stream, names in self.accepted.items()}
        for name in ("journal.db-log", "journal.db-wal", "journal.db"):
            if (old / name).exists():
                shutil.copy(old / name, new / name)
        self._end()  # what the dying one still tells does not count
        self.accepted = known
        self._live(new)

    @rule()
    def restart(self) -> None:
        self._end()
        number = next(self.lives)
        (self.folder / str(number - 1)).rename(self.folder / str(number))
        self._live(self.folder / str(number))

    # ---- what must hold ----

    @invariant()
    def nothing_is_invented_or_changed_and_all_is_in_order(self) -> None:
        messages = list(itertools.islice(self.broker.received, self.read, None))
        self.read += len(messages)
        for message in messages:
            event = orjson.loads(message.payload)
            if event.get("stream") not in STREAMS or not event["id"].startswith("id-"):
                continue
            name, stream = event["id"], Stream(event["stream"])
            assert name in self.appended
            if self.payloads.setdefault(name, message.payload) is message.payload:
                self.first[stream].append((int(event["sequence"]), name))
            assert self.payloads[name] == message.payload, "a repeat with another content"
        for told in self.first.values():
            numbers = [number for number, _ in told]
            assert numbers == sorted(set(numbers)), "first sent out of order, or two events under one number"

    def teardown(self) -> None:
        """All is well again: everything that was accepted arrives."""
        try:
            self.refused.clear()
            if not self.broker_up:
                self.broker_back()
            self.runner.run(until(lambda: not any(map(self.journal.waiting, Stream)) and not self.journal.lost))
            self.nothing_is_invented_or_changed_and_all_is_in_order()
            for stream, names in self.accepted.items():
                told = [name for _, name in self.first[stream]]
                assert set(names) <= set(told), "lost"
                order = {name: number for number, name in enumerate(told)}
                assert [order[name] for name in names] == sorted(order[name] for name in names)
            assert self.journal.memory is not None
        finally:
            self._end()
            self.runner.run(self.broker.stop())
            self.runner.close()
            shutil.rmtree(self.folder)


async def until(reached: Any) -> None:
    async with asyncio.timeout(HEALED_WITHIN):
        while not reached():
            await asyncio.sleep(0.005)


async def finished(task: "asyncio.Task[None]") -> None:
    await task


def test_nothing_lost_invented_or_reordered() -> None:
    run_state_machine_as_test(
        Delivery,
        settings=settings(WHOLE, max_examples=10, stateful_step_count=20),
    )


@pytest.mark.soak
def test_nothing_lost_invented_or_reordered_for_long() -> None:
    run_state_machine_as_test(
        Delivery,
        settings=settings(WHOLE, max_examples=100, stateful_step_count=50),
    )
