"""One virtual slave: a memory built from the device's points, and PDU in, PDU out. Pure.

After MODBUS Application Protocol V1.1b3: functions 1–6, 15, 16 and the exceptions 1 (function), 2 (address),
3 (value or length). The device keeps what its profile says of the real one: how much it gives in one answer, odd
values for *on* and *off*, the one write function it knows, its own timed pulses, its watchdog and its outputs' safe
values, and that nothing else can be written.
"""

import struct
from collections import deque
from collections.abc import Mapping
from typing import Final, NamedTuple

from gateway.config.device import Device, ResetPoint
from gateway.config.points import At, Point, Write
from gateway.config.points import Table as TableName
from gateway.model import Value
from simulators.registers import decode, encode
from simulators.resting import resting
from simulators.table import Table, pack_bits, unpack_bits

_READS: Final[dict[int, TableName]] = {1: "coil", 2: "discrete", 3: "holding", 4: "input"}
_WRITES: Final[dict[int, TableName]] = {5: "coil", 6: "holding", 15: "coil", 16: "holding"}
_FUNCTION, _ADDRESS, _VALUE = 1, 2, 3
_COIL: Final = {0xFF00: 1, 0x0000: 0}
_KEPT_WRITES: Final = 10_000


class Expected(NamedTuple):
    """What a round of the site expects of a point; it rests there."""

    between: tuple[float, float] | None = None
    equals: Value | None = None


class Written(NamedTuple):
    """One write that the device carried out, as it was on the wire."""

    mono: float
    """When the request was complete on the wire (seconds of the monotonic clock)."""
    device: str
    function: int
    table: TableName
    address: int
    values: tuple[int, ...]
    """Registers; for coils 1 and 0; for a timed pulse its number of steps."""
    point: str | None
    """The point that lies at `address`, if one does."""
    value: Value | None
    """What that point reads afterwards."""


class _RefusalError(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class VirtualDevice:
    """A slave of one device entry of the site file.

    `now` is always seconds of one monotonic clock. With `strict`, addresses between two points are refused too.
    """

    def __init__(
        self, name: str, device: Device, *, expected: Mapping[str, Expected] | None = None, strict: bool = False
    ) -> None:
        self.name = name
        self.unit = device.unit
        self.points: dict[str, Point] = dict(device.points)
        self.limits = device.limits
        self.requests = 0
        self.refused = 0
        self.writes: deque[Written] = deque(maxlen=_KEPT_WRITES)
        self._tables = _tables(self.points, 0 if strict else device.limits.max_gap, device.limits.fixed_bits)
        self._by_address = {point.at: name for name, point in reversed(self.points.items())}
        self._pulses = {
            point.pulse.at: (point.at, point.pulse.step) for point in self.points.values() if point.pulse is not None
        }
        self._losses = [(point, point.loss) for point in self.points.values() if point.loss is not None]
        apart = (*self._pulses, *(at for _, loss in self._losses for at in (loss.watchdog, loss.safe)))
        self._apart = {at: 0 for at in apart if not self._tables[at.table].answers(at.address, 1)}
        self._writable = _writable(self.points, device.reset)
        self._heard: float | None = None
        """When the last request came."""
        self._until: dict[At, float] = {}
        self._stuck: set[At] = set()
        for key, point in self.points.items():
            wish = (expected or {}).get(key, Expected())
            self.set(key, resting(point, wish.between, wish.equals))

    # ---- the world's side: what the sensor sees ----

    def set(self, point: str, value: Value) -> None:
        """Make the point read `value` (engineering unit, a word of `values`, or a `supervised` window's name).

        Raises KeyError for no such point, ValueError for a value that its registers cannot carry.
        """
        it = self.points[point]
        at = it.at
        words = encode(it, value)
        if it.bit is not None:
            old = self._tables[at.table].get(at.address, 1)[0]
            words = (old & ~(1 << it.bit) | words[0] << it.bit,)
        self._until.pop(at, None)
        self._tables[at.table].put(at.address, words)

    def get(self, point: str, now: float) -> Value | None:
        """What the point reads; None if its registers mean "no value". Raises KeyError."""
        self._settle(now)
        it = self.points[point]
        at = it.at
        words = self._tables[at.table].get(at.address, it.span[2])
        return decode(it, (words[0] >> it.bit & 1,) if it.bit is not None else words)

    def stick(self, point: str) -> None:
        """The contact of this output sticks: writes are answered and change nothing. Raises KeyError."""
        self._stuck.add(self.points[point].at)

    def free(self, point: str) -> None:
        """The contact moves again. Raises KeyError."""
        self._stuck.discard(self.points[point].at)

    def poke(self, at: At, *words: int) -> None:
        """Set registers or bits whatever they mean. Raises ValueError outside the device's span."""
        self._tables[at.table].put(at.address, words)

    def peek(self, at: At, count: int = 1) -> tuple[int, ...]:
        """Registers or bits as they are (also what was written to a pulse or watchdog address)."""
        if at in self._apart:
            return (self._apart[at],)
        return self._tables[at.table].get(at.address, count)

    # ---- the wire's side ----

    def ignores(self, pdu: bytes) -> bool:
        """Whether this is a read of bits that the device leaves without any answer, for its count."""
        fixed = self.limits.fixed_bits
        return fixed is not None and len(pdu) == 5 and pdu[0] in (1, 2) and int.from_bytes(pdu[3:], "big") != fixed

    def answer(self, pdu: bytes, now: float) -> bytes:
        """The answer to one request PDU; any bytes are allowed, nothing is raised."""
        self.requests += 1
        self._settle(now)
        self._heard = now
        function = pdu[0] if pdu else 0
        try:
            if function in _READS:
                return self._read(_READS[function], pdu)
            return self._write(function, pdu, now)
        except _RefusalError as refusal:
            self.refused += 1
            return bytes((function | 0x80, refusal.code))

    def _read(self, name: TableName, pdu: bytes) -> bytes:
        if len(pdu) != 5:
            raise _RefusalError(_VALUE)
        start, count = struct.unpack_from(">HH", pdu, 1)
        table = self._tables[name]
        if not 1 <= count <= (self.limits.max_bits if table.bits else self.limits.max_registers):
            raise _RefusalError(_VALUE)
        if table.answers(start, count):
            data = table.raw(start, count)
        elif all(At(name, start + at) in self._apart for at in range(count)):
            cells = [self._apart[At(name, start + at)] for at in range(count)]
            data = pack_bits([min(cell, 1) for cell in cells]) if table.bits else struct.pack(f">{count}H", *cells)
        else:
            raise _RefusalError(_ADDRESS)
        return bytes((pdu[0], len(data))) + data

    def _write(self, function: int, pdu: bytes, now: float) -> bytes:
        if function not in _WRITES:
            raise _RefusalError(_FUNCTION)
        name = _WRITES[function]
        start, values = _written_values(function, pdu, self.limits.max_registers, self.limits.max_bits)
        addresses = [At(name, start + at) for at in range(len(values))]
        for at in addresses:
            if at not in self._writable:
                raise _RefusalError(_ADDRESS)
            odd = self._writable[at]
            if odd.fc is not None and odd.fc != function:
                raise _RefusalError(_FUNCTION)
        if function == 5 and addresses[0] not in self._pulses:
            values = (self._coil(addresses[0], values[0]),)
        for at, value in zip(addresses, values, strict=True):
            self._store(at, value, now)
        point = self._by_address.get(addresses[0]) or self._pulsed(addresses[0])
        read = self.get(point, now) if point is not None else None
        self.writes.append(Written(now, self.name, function, name, start, values, point, read))
        return pdu if function in (5, 6) else pdu[:5]

    def _coil(self, at: At, word: int) -> int:
        odd = self._writable[at]
        meaning = _COIL if odd.on is None and odd.off is None else _odd(odd, 0xFF00)
        if word not in meaning:
            raise _RefusalError(_VALUE)
        return meaning[word]

    def _store(self, at: At, value: int, now: float) -> None:
        if at in self._pulses:
            if at in self._apart:
                self._apart[at] = value
            output, step = self._pulses[at]
            self._switch(output, value > 0)
            self._until[output] = now + value * step
            return
        if at in self._apart:
            self._apart[at] = value
            return
        odd = self._writable[at]
        self._until.pop(at, None)
        if at.table == "holding" and (odd.on is not None or odd.off is not None):
            meaning = _odd(odd, 1)
            if value not in meaning:
                raise _RefusalError(_VALUE)
            self._switch(at, bool(meaning[value]))
            return
        if at not in self._stuck:
            self._tables[at.table].put(at.address, (value,))

    def _switch(self, at: At, on: bool) -> None:
        """Set the output at `at` on the wire's terms: `on` is 1 whatever `invert` makes of it."""
        if at not in self._stuck:
            self._tables[at.table].put(at.address, (int(on),))

    def _pulsed(self, at: At) -> str | None:
        return self._by_address.get(self._pulses[at][0]) if at in self._pulses else None

    def _settle(self, now: float) -> None:
        """What has happened by itself meanwhile."""
        self._end_pulses(now)
        if self._losses and self._heard is not None:
            for point, loss in self._losses:
                armed = self.peek(loss.watchdog)[0]
                after = loss.after if loss.watchdog.table == "coil" else armed * loss.tick
                if armed and now - self._heard > after:
                    self._until.pop(point.at, None)
                    on = self.peek(loss.safe)[0] == point.safe_on
                    self._switch(point.at, on is not point.invert)

    def _end_pulses(self, now: float) -> None:
        if self._until:
            for at in [at for at, until in self._until.items() if until <= now]:
                del self._until[at]
                self._switch(at, on=False)


def _tables(points: Mapping[str, Point], max_gap: int | None, fixed_bits: int | None) -> dict[TableName, Table]:
    spans: dict[TableName, list[tuple[int, int]]] = {"coil": [], "discrete": [], "input": [], "holding": []}
    for point in points.values():
        table, address, count = point.span
        spans[table].append((address, count))
    for bits in (spans["coil"], spans["discrete"]):
        if fixed_bits is not None and bits:
            first, last = min(bits)[0], max(address for address, _ in bits)
            bits.append((first, (last - first) // fixed_bits * fixed_bits + fixed_bits))
    return {name: Table(of, bits=name in ("coil", "discrete"), max_gap=max_gap) for name, of in spans.items()}


def _writable(points: Mapping[str, Point], reset: object) -> dict[At, Write]:
    """Which addresses may be written, and how oddly."""
    writable: dict[At, Write] = {}
    for name, point in points.items():
        table, address, count = point.span
        if point.write or (isinstance(reset, ResetPoint) and reset.point == name):
            odd = point.write if isinstance(point.write, Write) else Write()
            writable.update({At(table, address + more): odd for more in range(count)})
        if point.pulse is not None:
            writable[point.pulse.at] = Write()
        if point.loss is not None:
            writable[point.loss.watchdog] = writable[point.loss.safe] = Write()
    return writable


def _odd(write: Write, on: int) -> dict[int, int]:
    return {write.off or 0: 0, on if write.on is None else write.on: 1}


def _written_values(function: int, pdu: bytes, max_registers: int, max_bits: int) -> tuple[int, tuple[int, ...]]:
    """Start address and values of a write request; a coil of function 5 is still the raw word."""
    if len(pdu) < 5:
        raise _RefusalError(_VALUE)
    start, second = struct.unpack_from(">HH", pdu, 1)
    if function in (5, 6):
        if len(pdu) != 5:
            raise _RefusalError(_VALUE)
        return start, (second,)
    size = (second + 7) // 8 if function == 15 else second * 2
    most = min(max_bits, 1968) if function == 15 else min(max_registers, 123)
    if not 1 <= second <= most or len(pdu) != 6 + size or pdu[5] != size:
        raise _RefusalError(_VALUE)
    if start + second > 0x10000:
        raise _RefusalError(_ADDRESS)
    if function == 15:
        return start, unpack_bits(pdu[6:], second)
    return start, struct.unpack_from(f">{second}H", pdu, 6)
