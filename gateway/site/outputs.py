"""The outputs that the site writes: held ones are supervised, released ones are written until they read back off.

An output is *on* (held), *off* (to be released) or nobody's. Nothing writes false to an output that is held: its
pending orders are dropped. An output that this program sets or pulses is remembered in the same step, so that it is
released after a crash.
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
"""`release/DEVICE.POINT`: this program has set the output, so it has to be released."""
_HELD_READ_EVERY_S = 1.0
"""A held output is read at this interval."""
_SOUND_READ_EVERY_S = 10.0
"""A held output that is not safety-critical (a sound) is read at this interval."""
_LOST_S = 5.0
"""An order without an outcome is given again after this time."""
_SLOWEST_S = 30.0
_BLIND_WRITE_EVERY_S = 5.0
"""A held output that cannot be read back is written again at this interval."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """How an output has to be written. Times in seconds."""

    pulse: float = 0.5
    timed: bool = False
    """The module has a timed pulse of its own."""
    repeat: float | None = None
    """The board reacts only to an edge: holding means a pulse at this interval. None: it takes a level."""
    readable: bool = True


@dataclass(slots=True)
class _Output:
    ref: Ref
    wiring: Wiring = Wiring()
    want: bool | None = None
    urgent: bool = False
    """Writes do not wait for their commit."""
    order: str | None = None
    """The order under way."""
    writing: bool = False
    pulsing: bool = False
    """The order under way, or the running timer, belongs to a pulse."""
    written: float | None = None
    """Only a reading newer than this shows the effect of the last write."""
    ordered: float = float("-inf")
    """When the last order was given."""
    tries: int = 0
    is_on: bool | None = None
    """The last reading; None: not read since the start or since a write."""
    touched: bool = False
    """True if this process has written it."""
    remembered: bool = False


class Outputs:
    """All outputs, by point."""

    def __init__(self, ids: Ids, timers: Timers, wirings: Mapping[Ref, Wiring], writable: Collection[Ref] = ()) -> None:
        self._ids = ids
        self._timers = timers
        self._outputs = {ref: _Output(ref, wiring) for ref, wiring in wirings.items()}
        self._writable = writable
        """All points that can be written, used by the site or not."""
        self._lost: list[str] = []
        """Memory keys of outputs that have to be released but can no longer be written."""
        self._orders: dict[str, _Output] = {}

    def restore(self, memory: Mapping[str, Json]) -> None:
        """Load the outputs that have to be released."""
        for key in memory:
            if key.startswith(_MEMORY):
                device, _, point = key.removeprefix(_MEMORY).partition(".")
                ref = Ref(device, point)
                if ref not in self._outputs and ref not in self._writable:
                    self._lost.append(key)
                    continue
                # No longer used by the site and not read, but it is still switched off.
                output = self._outputs.setdefault(ref, _Output(ref, Wiring(readable=False)))
                output.remembered, output.want, output.urgent = True, False, True

    def start(self, now: Instant) -> Iterator[Effect]:
        """Write the known releases, after all holds have been applied."""
        for key in self._lost:
            yield Forget(key)
        for output in self._outputs.values():
            if output.want is False:
                yield from self._act(output, now)

    def is_on(self, ref: Ref) -> bool | None:
        """What was read back; None: not known (yet)."""
        return self._outputs[ref].is_on

    def taken(self, ref: Ref) -> bool:
        """True if it is held and is on, or its order was carried out: no further outcome will come."""
        output = self._outputs[ref]
        if output.want is not True or output.is_on is not None:
            return output.want is True and output.is_on is True
        return output.order is None and output.written is not None

    def held(self, ref: Ref) -> bool:
        """True while it is held."""
        return self._outputs[ref].want is True

    def touched(self, ref: Ref) -> bool:
        """True if this process has written it, or has to."""
        output = self._outputs[ref]
        return output.touched or output.remembered

    def hold(self, ref: Ref, now: Instant, *, urgent: bool, remember: bool = False) -> Iterator[Effect]:
        """Keep it on until it is released. `remember`: the caller does not remember the hold itself."""
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
            # The order under way may still wait for its commit; an urgent one does not.
            yield from self._write(output, True, now)

    def adopt(self, ref: Ref, now: Instant) -> None:
        """Hold an output that is on already, without writing it."""
        output = self._outputs[ref]
        output.want, output.is_on = True, True
        self._wait(output, _HELD_READ_EVERY_S, now)

    def ref_of(self, order: str) -> Ref | None:
        """The output of an order under way."""
        output = self._orders.get(order)
        return None if output is None else output.ref

    def again(self, ref: Ref, now: Instant) -> Iterator[Effect]:
        """Write a held output again, whatever its reading."""
        output = self._outputs[ref]
        if output.want is True:
            yield from self._write(output, True, now)

    def release(self, ref: Ref, now: Instant, *, urgent: bool = False) -> Iterator[Effect]:
        """Release it: write it off until it reads back off."""
        output = self._outputs[ref]
        if not output.remembered:
            output.remembered = True
            yield Remember(f"{_MEMORY}{ref}", True)
        output.want, output.urgent, output.tries, output.pulsing = False, urgent, 0, False
        yield from self._write(output, False, now)

    def pulse(self, ref: Ref, expires: float | None, now: Instant, *, urgent: bool = False) -> Iterator[Effect]:
        """Switch it on and, after the pulse time of its wiring, off again. Does nothing if it is held."""
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
        """Take the outcome of an order."""
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
        """Take a reading of the output."""
        output = self._outputs.get(ref)
        if output is None or reading.quality is not Quality.GOOD or output.order is not None:
            return
        if output.written is not None and reading.at.mono < output.written:
            return
        output.is_on = bool(reading.value)
        if output.want is True and not output.is_on and output.wiring.repeat is None:
            # A sticking relay is not written faster than this, because other devices need the line too.
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
        """The device answers again: write at once what waits for it."""
        for output in self._outputs.values():
            if output.ref.device == device and output.want is not None and output.order is None:
                output.tries = 0
                yield from self._act(output, now)

    def tick(self, name: str, now: Instant) -> Iterator[Effect]:
        """A timer has fired: do the next thing with an output."""
        device, _, point = name.partition(".")
        output = self._outputs[Ref(device, point)]
        if output.pulsing and output.want is None:
            # The end of a pulse, or an order for a pulse without an outcome.
            output.pulsing, output.want, output.urgent = False, False, True
        if output.want is False and output.wiring.timed and output.writing and output.tries == 0:
            # The module has ended its pulse by itself; one read confirms it.
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
            # The end of an edge, not a release: the board itself keeps the gate up until the next edge.
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
        """Take the outcome of an order for a pulse, or for an edge of a repeated hold."""
        if output.want is True:
            self._wait(output, _left(output, item, now) if item.ok else _HELD_READ_EVERY_S, now)
            output.pulsing = item.ok
        elif item.detail == "refused":
            output.pulsing, output.want = False, None
            yield from self._released(output)
        elif item.ok and output.wiring.timed:
            # The module ends it by itself; a read checks that it did.
            output.pulsing, output.want, output.urgent = False, False, True
            if output.wiring.readable:
                output.written = item.at.mono + output.wiring.pulse
                self._wait(output, output.wiring.pulse + _HELD_READ_EVERY_S, now)
            else:
                yield from self._released(output)
        else:
            # Not ok, but it may have been written and only the answer lost.
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
    """Seconds until the end of a pulse, counted from the write and not from its outcome."""
    began = now.mono if item.sent is None else min(item.sent, now.mono)
    return max(0.0, began + output.wiring.pulse - now.mono)
