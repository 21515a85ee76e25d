"""Plans the read requests for points. Pure.

Requests are planned by cost: wire time divided by period. A gap is read through if that is cheaper than another
request; a slower point joins a faster request if that is cheaper (or free, because it lies inside). A value is never
split.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from math import inf
from typing import NamedTuple

from drivers.modbus.settings import ModbusDevice, ModbusPoint, ModbusTable
from drivers.modbus.wiretime import WireTime
from gateway.model import Lane

_TCP_GAP = 125


class Span(NamedTuple):
    """One read: `length` registers or bits from `start`, and the points in it."""

    table: ModbusTable
    start: int
    length: int
    points: tuple[ModbusPoint, ...]

    @property
    def lane(self) -> Lane:
        """The most urgent lane of its points."""
        return min(point.lane for point in self.points)

    @property
    def every(self) -> float:
        """The shortest period of its points, in seconds."""
        return min(point.every for point in self.points)


def plan(device: ModbusDevice, points: Iterable[ModbusPoint], time: WireTime, longest: float = inf) -> list[Span]:
    """The reads that cover each of `points` exactly once.

    `longest`: on a bus, the longest wire time in seconds of a normal read (unless a single value takes longer), so
    that it does not delay urgent reads.
    """
    tables: dict[ModbusTable, list[ModbusPoint]] = {}
    for point in points:
        tables.setdefault(point.table, []).append(point)
    spans: list[Span] = []
    for table in sorted(tables):
        found = tables[table]
        if found[0].is_bit and device.fixed_bits is not None:
            spans += _fixed(device, found, device.fixed_bits)
            continue
        spans += _by_lane(device, found, time, longest) if time.bus else _cheapest(device, found, time, inf)
    return spans


def narrow(device: ModbusDevice, span: Span) -> list[Span]:
    """Split a refused read into two for the same points; empty if it cannot be split."""
    if span.points[0].is_bit and device.fixed_bits is not None:
        return []
    places = sorted({(point.address, point.count) for point in span.points})
    if len(places) < 2:
        return []
    middle = places[len(places) // 2]
    points = sorted(span.points, key=_place)
    lower = [point for point in points if (point.address, point.count) < middle]
    upper = [point for point in points if (point.address, point.count) >= middle]
    return [_span(lower), _span(upper)]


def _fixed(device: ModbusDevice, points: Sequence[ModbusPoint], count: int) -> list[Span]:
    """Reads of exactly `count` bits, whose start does not depend on the wanted points."""
    table = points[0].table
    own = [point.address for point in device.points if point.table == table]
    origin = min(own, default=min(point.address for point in points))
    windows: dict[int, list[ModbusPoint]] = {}
    for point in points:
        windows.setdefault((point.address - origin) // count, []).append(point)
    return [Span(table, max(0, origin + number * count), count, tuple(windows[number])) for number in sorted(windows)]


def _by_lane(device: ModbusDevice, points: Sequence[ModbusPoint], time: WireTime, longest: float) -> list[Span]:
    """Plan lane by lane. On a bus urgent reads stay short: a point of a later lane joins only if that is free."""
    spans: list[Span] = []
    for lane in sorted({point.lane for point in points}):
        rest = []
        for point in (point for point in points if point.lane == lane):
            host = _host(spans, point)
            if host is None:
                rest.append(point)
            else:
                spans[host] = spans[host]._replace(points=(*spans[host].points, point))
        spans += _cheapest(device, rest, time, longest if lane >= Lane.NORMAL else inf)
    return spans


def _host(spans: Sequence[Span], point: ModbusPoint) -> int | None:
    """The first read that contains the point anyway, at least as often as needed."""
    for at, span in enumerate(spans):
        inside = span.start <= point.address and point.address + point.count <= span.start + span.length
        if inside and span.every <= point.every:
            return at
    return None


def _cheapest(device: ModbusDevice, points: Iterable[ModbusPoint], time: WireTime, longest: float) -> list[Span]:
    """The cheapest reads that cover the points, in the order of their addresses."""
    ordered = sorted(points, key=_place)
    if not ordered:
        return []
    extents = tuple((point.address, point.address + point.count, point.every) for point in ordered)
    bits = ordered[0].is_bit
    most, gap = _limits(device, time, bits=bits)
    cuts = _cuts(extents, time, device.silence, bits, most, gap, longest)
    return [_span(ordered[first:last]) for first, last in cuts]


@lru_cache(maxsize=256)  # devices of one model have the same layout
def _cuts(
    extents: tuple[tuple[int, int, float], ...],
    time: WireTime,
    silence: float | None,
    bits: bool,
    most: int,
    gap: float,
    longest: float,
) -> tuple[tuple[int, int], ...]:
    """The cheapest cut of points at (first address, end, period) into reads: a shortest path, exact.

    On TCP the fewest reads come first, then their cost.
    """
    one = 0 if time.bus else 1
    count = len(extents)
    best = [(0, 0.0)] + [(count + 1, inf)] * count
    cut = [0] * (count + 1)
    for first, (start, end, every) in enumerate(extents):
        for last in range(first, count):
            address, until, wanted = extents[last]
            # Reads only grow: if one point does not fit, no later one does.
            if last > first and (address - end > gap or max(end, until) - start > most):
                break
            end, every = max(end, until), min(every, wanted)  # noqa: PLW2901  # the read so far
            if last > first and time.read(end - start, bits=bits, silence=silence) > longest:
                break
            cost = time.cost(end - start, bits=bits, silence=silence) / every
            through = best[first][0] + one, best[first][1] + cost
            if through < best[last + 1]:
                best[last + 1], cut[last + 1] = through, first
    cuts = []
    last = count
    while last:
        cuts.append((cut[last], last))
        last = cut[last]
    return tuple(reversed(cuts))


def _limits(device: ModbusDevice, time: WireTime, *, bits: bool) -> tuple[int, float]:
    """The most that one read may cover, and the widest gap in it."""
    gap = device.max_gap if device.max_gap is not None else inf if time.bus else _TCP_GAP
    return device.max_bits if bits else device.max_registers, gap


def _span(points: Sequence[ModbusPoint]) -> Span:
    start = min(point.address for point in points)
    end = max(point.address + point.count for point in points)
    return Span(points[0].table, start, end - start, tuple(points))


def _place(point: ModbusPoint) -> tuple[int, int, str]:
    return point.address, point.count, point.name
