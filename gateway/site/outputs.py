"""The outputs that the site moves: held ones are supervised, released ones are written until they are read back.

An output is *on* (somebody holds it), *off* (to be released) or nobody's. On an output that is on nothing
writes false: what is pending for it is dropped. An output that this program has set, or pulsed, is remembered
in the same step, so that its release is known after a crash.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from gateway.backoff import doubled
from gateway.model import Effect, Forget, Instant, Json, Operate, Outcome, Quality, Reading, ReadNow, Remember
from gateway.site.ids import Ids
from gateway.site.settings import Ref
from gateway.site.timers import Timers

PART = "output"
_MEMORY = "release/"
"""`release/DEVICE.POINT`: this program has set it, so it has to be released."""
_HELD_READ_EVERY_S = 1.0
"""A held output is read that often."""
_SOUND_READ_EVERY_S = 10.0
"""A sound that nobody's life hangs on is looked at so often."""
_LOST_S = 5.0
"""An order of which nothing is heard is given again after so many seconds."""
_SLOWEST_S = 30.0
_BLIND_WRITE_EVERY_S = 5.0
"""A held output that cannot be read back is written again so often."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """How an output wants to be written. Seconds."""

    pulse: float = 0.5
    timed: bool = False
    """The module has a timed pulse of its own."""
    repeat: float | None = None
    """Only an edge counts: holding is a pulse again and again."""
    readable: bool = True


@dataclass(slots=True)
class _Output:
    ref: Ref
    wiring: Wiring = Wiring()
    want: bool | None = None
    urgent: bool = False
    """Writes do not wait for their commit."""
    order: str | None = None
    """Under way."""
    writing: bool = False
    pulsing: bool = False
    """The order under way, or the time that runs, belongs to a pulse."""
    written: float | None = None
    """A reading newer than that shows what the last write did."""
    ordered: float = float("-inf")
    """When it was told the last time."""
    tries: int = 0
    is_on: bool | None = None
    """As it was read last; None: never since the start, or not since a write."""
    touched: bool = False
    """This process has written it."""
    remembered: bool = False


class Outputs:
    """Every output by its point."""

    def __init__(self, ids: Ids, timers: Timers, wirings: Mapping[Ref, Wiring], writable: Collection[Ref] = ()) -> None:
        self._ids = ids
        self._timers = timers
        self._outputs = {ref: _Output(ref, wiring) for ref, wiring in wirings.items()}
        self._writable = writable
        """Points that can be written, whoever uses them now."""
        self._lost: list[str] = []
        """Keys of what has to be released and cannot be written any more."""
        self._orders: dict[str, _Output] = {}

    def restore(self, memory: Mapping[str, Json]) -> None:
        """Take up what has to be released."""
        for key in memory:
            if key.startswith(_MEMORY):
                device, _, point = key.removeprefix(_MEMORY).partition(".")
                ref = Ref(device, point)
                if ref not in self._outputs and ref not in self._writable:
                    self._lost.append(key)
                    continue
                # Nobody's any more, and nobody reads it: it is written off all the same.
                output = self._outputs.setdefault(ref, _Output(ref, Wiring(readable=False)))
                output.remembered, output.want, output.urgent = True, False, True

    def start(self, now: Instant) -> Iterator[Effect]:
        """Write the releases that are known; whoever holds one of them has said so before."""
        for key in self._lost:
            yield Forget(key)
        for output in self._outputs.values():
            if output.want is False:
                yield from self._act(output, now)

    def is_on(self, ref: Ref) -> bool | None:
        """What was read back; None: not known (yet)."""
        return self._outputs[ref].is_on

    def taken(self, ref: Ref) -> bool:
        """True if it is held, and is on or has just taken the order to be: no further outcome will come."""
        output = self._outputs[ref]
        if output.want is not True or output.is_on is not None:
            return output.want is True and output.is_on is True
        return output.order is None and output.written is not None

    def held(self, ref: Ref) -> bool:
        """True while somebody holds it."""
        return self._outputs[ref].want is True

    def touched(self, ref: Ref) -> bool:
        """True once this process has written it, or has to."""
        output = self._outputs[ref]
        return output.touched or output.remembered

    def hold(self, ref: Ref, now: Instant, *, urgent: bool, remember: bool = False) -> Iterator[Effect]:
        """Keep it on until it is released. `remember`: whoever holds it does not remember that by himself."""
        output = self._outputs[ref]
        hurried = urgent and not output.urgent
        output.urgent = urgent
        if remember is not output.remembered:
            output.remembered = remember
            yield Remember(f"{_MEMORY}{ref}", True) if remember else Forget(f"{_MEMORY}{ref}")
        if output.want is not True:
            output.want, output.tries = True, 0
            yield from self._write(output, True, now)
        elif hurried and not output.is_on:
            # What is under way may wait for its commit; this one does not.
            yield from self._write(output, True, now)

    def adopt(self, ref: Ref, now: Instant) -> None:
        """It is on, and is held from now on; nothing has to be written for that."""
        output = self._outputs[ref]
        output.want, output.is_on = True, True
        self._wait(output, _HELD_READ_EVERY_S, now)

    def ref_of(self, order: str) -> Ref | None:
        """The output that an order under way is for."""
        output = self._orders.get(order)
        return None if output is None else output.ref

    def again(self, ref: Ref, now: Instant) -> Iterator[Effect]:
        """Write a held output again, whatever it reads."""
        output = self._outputs[ref]
        if output.want is True:
            yield from self._write(output, True, now)

    def release(self, ref: Ref, now: Instant, *, urgent: bool = False) -> Iterator[Effect]:
        """Nobody holds it any more: write it off until it is read back."""
        output = self._outputs[ref]
        if not output.remembered:
            output.remembered = True
            yield Remember(f"{_MEMORY}{ref}", True)
        output.want, output.urgent, output.tries, output.pulsing = False, urgent, 0, False
        yield from self._write(output, False, now)

    def pulse(self, ref: Ref, expires: float | None, now: Instant, *, urgent: bool = False) -> Iterator[Effect]:
        """On and, after the time of its wiring, off again. Nothing if it is held."""
        output = self._outputs[ref]
        if output.want is True:
            return
        if not output.remembered:
            output.remembered = True
            yield Remember(f"{_MEMORY}{ref}", True)
        output.want, output.pulsing, output.tries = None, True, 0
        self._wait(output, max(0.0, (expires or 0.0) - now.mono) + _LOST_S, now)
        yield self._order(output, output.wiring.pulse if output.wiring.timed else True, expires, now, urgent=urgent)

    def outcome(self, item: Outcome, now: Instant) -> Iterator[Effect]:
        """What became of an order."""
        output = self._orders.pop(item.order, None)
        if output is None or output.order != item.order:
            return
        output.order = None
        if item.ok:
            output.written, output.is_on = item.at.mono, None
            if not output.wiring.readable:
                output.is_on = output.writing
        if output.pulsing:
            yield from self._pulsed(output, item, now)
        elif output.want is True:
            yield from self._held(output, item, now)
        elif output.want is False:
            output.tries += not item.ok
            if item.ok and not output.wiring.readable:
                yield from self._released(output)
            elif item.ok:
                yield from self._look(output, now)
            else:
                self._wait(output, doubled(_HELD_READ_EVERY_S, output.tries - 1, _SLOWEST_S), now)

    def read(self, ref: Ref, reading: Reading, now: Instant) -> Iterator[Effect]:
        """A reading of the output."""
        output = self._outputs.get(ref)
        if output is None or reading.quality is not Quality.GOOD or output.order is not None:
            return
        if output.written is not None and reading.at.mono < output.written:
            return
        output.is_on = bool(reading.value)
        if output.want is True and not output.is_on and output.wiring.repeat is None:
            # A relay that sticks is not told faster than that: the line is for others too.
            wait = output.ordered + _HELD_READ_EVERY_S - now.mono
            if wait > 0:
                self._wait(output, wait, now)
            else:
                yield from self._write(output, True, now)
        elif output.want is False and not output.pulsing:
            if output.is_on:
                if output.written is not None:
                    output.tries += 1
                    self._wait(output, doubled(_HELD_READ_EVERY_S, output.tries - 1, _SLOWEST_S), now)
            else:
                yield from self._released(output)

    def kick(self, device: str, now: Instant) -> Iterator[Effect]:
        """The device answers again: what waits for it goes at once."""
        for output in self._outputs.values():
            if output.ref.device == device and output.want is not None and output.order is None:
                output.tries = 0
                yield from self._act(output, now)

    def tick(self, name: str, now: Instant) -> Iterator[Effect]:
        """Time for the next thing to do with an output."""
        device, _, point = name.partition(".")
        output = self._outputs[Ref(device, point)]
        if output.pulsing and output.want is None:
            # The end of a pulse, or an order for one of which nothing was heard.
            output.pulsing, output.want, output.urgent = False, False, True
        if output.want is False and output.wiring.timed and output.writing and output.tries == 0:
            # The module has ended its pulse by itself, as one look will show.
            output.tries = 1
            yield from self._look(output, now)
        else:
            yield from self._act(output, now)

    # ---- one output -----------------------------------------------------------------------------

    def _act(self, output: _Output, now: Instant) -> Iterator[Effect]:
        steady = output.wiring.repeat is None and output.wiring.readable
        if output.want is True and output.order is None and steady and output.is_on:
            yield from self._look(output, now)
        elif output.want is True and output.wiring.repeat is not None and output.pulsing:
            # The edge's end, not a release: the board keeps the gate up by itself until the next one.
            yield from self._write(output, False, now)
        elif output.want is True:
            yield from self._write(output, True, now)
        elif output.want is False:
            yield from self._write(output, False, now)

    def _write(self, output: _Output, value: bool, now: Instant) -> Iterator[Effect]:
        edge = output.wiring.repeat is not None and output.want is True
        output.pulsing = edge and value and not output.wiring.timed
        self._wait(output, _LOST_S, now)
        seconds = output.wiring.timed and value and edge
        yield self._order(output, output.wiring.pulse if seconds else value, None, now, urgent=output.urgent)

    def _order(
        self, output: _Output, value: bool | float, expires: float | None, now: Instant, *, urgent: bool
    ) -> Operate:
        order = self._ids.order()
        if output.order is not None:
            self._orders.pop(output.order, None)
        output.order, output.writing, output.touched, output.is_on = order, bool(value), True, None
        output.ordered = now.mono
        self._orders[order] = output
        return Operate(order, output.ref.device, output.ref.point, value, expires, urgent)

    def _pulsed(self, output: _Output, item: Outcome, now: Instant) -> Iterator[Effect]:
        """An order of a pulse, or of an edge of a repeated hold, has come back."""
        if output.want is True:
            self._wait(output, _left(output, item, now) if item.ok else _HELD_READ_EVERY_S, now)
            output.pulsing = item.ok
        elif item.detail == "refused":
            output.pulsing, output.want = False, None
            yield from self._released(output)
        elif item.ok and output.wiring.timed:
            # The module ends it by itself; that it has is looked at.
            output.pulsing, output.want, output.urgent = False, False, True
            if output.wiring.readable:
                output.written = item.at.mono + output.wiring.pulse
                self._wait(output, output.wiring.pulse + _HELD_READ_EVERY_S, now)
            else:
                yield from self._released(output)
        else:
            # Not ok: it may have been written all the same, with the answer lost.
            self._wait(output, _left(output, item, now) if item.ok else 0.0, now)

    def _held(self, output: _Output, item: Outcome, now: Instant) -> Iterator[Effect]:
        if output.wiring.repeat is not None:
            spent = 0.0 if output.wiring.timed else output.wiring.pulse
            self._wait(output, max(output.wiring.repeat - spent, 0.0) if item.ok else _HELD_READ_EVERY_S, now)
        elif item.ok and output.wiring.readable:
            yield from self._look(output, now)
        else:
            self._wait(output, _BLIND_WRITE_EVERY_S if item.ok else _HELD_READ_EVERY_S, now)

    def _look(self, output: _Output, now: Instant) -> Iterator[Effect]:
        calm = output.want is True and output.remembered and not output.urgent
        self._wait(output, _SOUND_READ_EVERY_S if calm else _HELD_READ_EVERY_S, now)
        if output.wiring.readable:
            yield ReadNow(output.ref.device, (output.ref.point,))

    def _released(self, output: _Output) -> Iterator[Effect]:
        self._timers.drop((PART, str(output.ref)))
        output.want, output.tries, output.pulsing = None, 0, False
        if output.remembered:
            output.remembered = False
            yield Forget(f"{_MEMORY}{output.ref}")

    def _wait(self, output: _Output, seconds: float, now: Instant) -> None:
        self._timers.set((PART, str(output.ref)), now.mono + seconds)


def _left(output: _Output, item: Outcome, now: Instant) -> float:
    """Seconds until the end of a pulse, which began with the write and not with what is known of it."""
    began = now.mono if item.sent is None else min(item.sent, now.mono)
    return max(0.0, began + output.wiring.pulse - now.mono)
