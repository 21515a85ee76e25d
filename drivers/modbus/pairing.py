"""Makes RTU answers distinguishable, which carry no number themselves. Pure; times in monotonic seconds.

An RTU answer shows unit, function and byte count: its *shape*. So answers are matched to requests by their shapes:

* no two requests of a line have the same shape: one of them reads some additional registers, which are cut off. So no
  answer to one can pass for an answer to another, however late it comes;
* a confirm read never has the shape of the previous read; and after unrequested answers, every read changes its shape
  each time, so that an older answer to the same request does not fit either;
* when the pairing is in doubt (see `bus.py`), two requests go first with shapes that nothing still on its way can have.

A device that refuses or ignores longer reads is recognised and read as planned, after a request of another shape.
The object lives as long as its line, over all connections, because a converter may keep answers from earlier ones.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import inf
from typing import NamedTuple

from drivers.modbus.frames import MOST_BITS, MOST_REGISTERS, REFUSED, Ask, Seal, count_of, read, read_request, resized

WARY_S = 60.0
"""After an unrequested answer, shapes change with every read for this time."""
AVOIDED_S = 3600.0
"""A shape used by another master is avoided for this time."""
_REMEMBERED_S = 60.0
"""A converter may keep an answer to a request of this age."""
_MORE = 24
"""The most additional registers (or bytes of bits) of a read."""
_FEW = 6
"""The most registers (or bytes of bits) of a partial read that proves the pairing."""
_SHAPES = 4096
"""The most requests whose shapes are remembered."""
_HEADS = 64
"""The most remembered shapes of others."""
_STRIKES = 2
"""After this many observations a unit counts as ignoring all but the planned counts."""
_PARDON = 8
"""This many more, if it has answered another count before."""
_NOBODY = range(247, 0, -1)


_Place = tuple[int, int, int]
"""Unit, function and address."""


def _place(ask: Ask) -> _Place:
    return ask.unit, ask.pdu[0], ask.address


class UnitLimits(NamedTuple):
    """Limits of one request to a unit."""

    registers: int = MOST_REGISTERS
    bits: int = MOST_BITS
    fixed: bool = False
    """Bits can be read with one count only."""


class Pairing:
    """Chooses the shapes of one line, and counts unmatched frames."""

    def __init__(self, seal: Seal, limits: Mapping[int, UnitLimits]) -> None:
        self.counts = {"unasked": 0, "second": 0, "foreign": 0, "unproved": 0}
        """Frames that matched no request of ours (a second copy of an answer; another master's frames), and failed
        proofs."""
        self.last = ""
        """The last unmatched frame, as text."""
        self.wary_until = 0.0
        """Until then every read changes its shape."""
        self.brief = False
        """The other side closes after one answer, so proofs are impossible and every read changes its shape."""
        self._seal = seal
        self._limits = limits
        self._owners: dict[bytes, bytes] = {}
        self._plain: dict[bytes, Ask] = {}
        self._heads: dict[bytes, bytes] = {}
        """Request -> its last shape, if it changes."""
        self._asked: dict[bytes, float] = {}
        """Shape -> when it was last requested."""
        self._accepted: dict[bytes, int] = {}
        """Shape -> hash of the accepted answer."""
        self._stale: frozenset[bytes] = frozenset()
        """Shapes of answers that may come from before the opening."""
        self._others: dict[bytes, float] = {}
        """Shape of another master -> until when it is avoided."""
        self._longer: dict[_Place, bool] = {}
        self._shorter: dict[_Place, bool] = {}
        """Place -> whether counts other than the planned one are answered."""
        self._suspect: set[_Place] = set()
        """Places where the last request, with another count, had no answer."""
        self._planned_only: set[tuple[int, int]] = set()
        """Units and functions that ignore all but the planned counts."""
        self._strikes: dict[tuple[int, int], int] = {}
        """How often the planned count was answered right after another one was not."""
        self._known: dict[int, list[Ask]] = {}
        self.nobody = next((unit for unit in _NOBODY if unit not in limits), 0)
        """A unit id that is not used on this line; 0: all are used."""

    def told(self, now: float) -> dict[str, int | str | None]:
        """The state for health: `confused` describes the last unmatched frame; None after a quiet minute."""
        unpaired = self.counts["unasked"] + self.counts["second"] + self.counts["foreign"]
        confused = self.last if self.wary_until > now else None
        return {"unpaired": unpaired, "unproved": self.counts["unproved"], "confused": confused}

    def lost_in_proof(self, answered: bool) -> None:
        """The connection was lost during a proof. `answered`: after an answer, see `brief`."""
        self.brief = answered

    # ---- the shape of a request -----------------------------------------------------------------------

    def know(self, ask: Ask) -> None:
        """Register a periodic request, which its unit is known to answer."""
        self._known.setdefault(ask.unit, []).append(ask)

    def known(self, unit: int) -> Sequence[Ask]:
        """The periodic requests of a unit."""
        return self._known.get(unit, ())

    def plain(self, ask: Ask) -> Ask:
        """Its normal shape."""
        shape = self._plain.get(ask.frame)
        if shape is None:
            shape = self._free(ask, ask.frame) or ask
            if len(self._plain) < _SHAPES:
                self._plain[ask.frame] = shape
        if shape.size != ask.size and not self._may(self._longer, ask):
            return ask
        return shape

    def other(self, ask: Ask) -> Ask | None:
        """A shape in which it was not requested recently; None: it has none."""
        key = ask.frame + b"~"
        avoid = self._stale | {self._heads.get(ask.frame, b""), self.plain(ask).head}
        shape = self._free(ask, key, avoid)
        if shape is not None:
            self._heads[ask.frame] = shape.head
        return shape

    def is_own(self, ask: Ask, shape: Ask) -> bool:
        """True if nothing else uses that shape."""
        return shape.head not in self._others and self._owners.get(shape.head) in (ask.frame, ask.frame + b"~")

    def spacer(self, ask: Ask, last: bytes, units: Sequence[int]) -> Ask | None:
        """A request to send before `ask`, with another shape than `ask` and `last`. `units`: those that answer."""
        avoid = {ask.head, last}
        for unit in (ask.unit, *(unit for unit in units if unit != ask.unit)):
            fit = [shape for known in self.known(unit) if (shape := self.plain(known)).head not in avoid]
            if fit:
                return min(fit, key=lambda shape: shape.size)
        return next((shape for shape in self._counts(ask) if shape.head not in avoid), None)

    def challenge(self, ask: Ask, avoid: set[bytes], units: Sequence[int]) -> Ask:
        """A request with a unique answer if possible; otherwise the request itself."""
        old = avoid | self._stale
        fresh = [shape for shape in self._counts(ask) if shape.head not in old and shape.head not in self._owners]
        if fresh:
            return min(fresh, key=lambda shape: self._asked.get(shape.head, 0.0))
        if ask.head not in avoid:
            return ask
        return self.spacer(ask, next(iter(avoid)), units) or ask

    def nobodys(self) -> Ask:
        """A request that no unit answers."""
        return read(self.nobody, 3, 0, 1, self._seal)

    def _free(self, ask: Ask, key: bytes, avoid: frozenset[bytes] | set[bytes] = frozenset()) -> Ask | None:
        """The shortest unused shape, which then belongs to this request."""
        for shape in (ask, *self._more(ask)):
            owner = self._owners.get(shape.head)
            if owner in (None, key) and shape.head not in avoid and shape.head not in self._others:
                if len(self._owners) < _SHAPES:
                    self._owners[shape.head] = key
                return shape
        return None

    def _counts(self, ask: Ask) -> Iterator[Ask]:
        """The same request with other counts: first fewer, which the device certainly has, then more."""
        if self._may(self._shorter, ask):
            step = 8 if ask.is_bits else 1
            for count in range(step, min(count_of(ask), _FEW * step + 1), step):
                yield resized(ask, count, self._seal)
        yield from self._more(ask)

    def _more(self, ask: Ask) -> Iterator[Ask]:
        if not self._may(self._longer, ask):
            return
        limits = self._limits.get(ask.unit, UnitLimits())
        size = ask.size - 3
        for more in range(1, _MORE + 1):
            count = 8 * (size + more - 1) + 1 if ask.is_bits else size // 2 + more
            if count > (limits.bits if ask.is_bits else limits.registers) or ask.address + count > 0x10000:
                return
            yield resized(ask, count, self._seal)

    def _may(self, habit: Mapping[_Place, bool], ask: Ask) -> bool:
        if ask.is_bits and self._limits.get(ask.unit, UnitLimits()).fixed:
            return False
        place = _place(ask)
        return habit.get(place, True) and place not in self._suspect and place[:2] not in self._planned_only

    # ---- what became of it ----------------------------------------------------------------------------

    def answered(self, ask: Ask, shape: Ask) -> None:
        """Note that `ask` was answered in that shape."""
        place = _place(ask)
        habit = self._habit(ask, shape)
        if habit is not None:
            habit[place] = True
            self._strikes[place[:2]] = -_PARDON
        elif place in self._suspect and shape.unit == ask.unit:
            self._suspect.discard(place)
            self._strikes[place[:2]] = self._strikes.get(place[:2], 0) + 1
            if self._strikes[place[:2]] >= _STRIKES:
                self._planned_only.add(place[:2])

    def refused(self, ask: Ask, shape: Ask) -> None:
        """Note a refusal; the planned count may still be accepted."""
        habit = self._habit(ask, shape)
        if habit is not None:
            habit[_place(ask)] = False

    def silent(self, ask: Ask, shape: Ask) -> None:
        """Note a missing answer. A count that was never answered may be the reason: the next request is as planned."""
        place = _place(ask)
        habit = self._habit(ask, shape)
        if habit is None:
            self._suspect.discard(place)
        elif not habit.get(place):
            self._suspect.add(place)

    def _habit(self, ask: Ask, shape: Ask) -> dict[_Place, bool] | None:
        if shape.unit != ask.unit or shape.pdu[:3] != ask.pdu[:3] or shape.size == ask.size:
            return None
        return self._longer if shape.size > ask.size else self._shorter

    def sent(self, shape: Ask, now: float) -> None:
        """Note that it is being sent."""
        self._asked.pop(shape.head, None)
        self._asked[shape.head] = now
        self._accepted.pop(shape.head, None)
        if len(self._asked) > _SHAPES:
            del self._asked[next(iter(self._asked))]

    def opened(self, now: float) -> None:
        """A new connection: earlier requests may be answered in it."""
        self._stale = frozenset(head for head, at in self._asked.items() if now - at < _REMEMBERED_S)
        self._others = {head: until for head, until in self._others.items() if until > now}

    def accepted(self, frame: bytes) -> None:
        """Note that this answer was accepted."""
        self._accepted[frame[:3]] = hash(frame)

    def unpaired(self, frame: bytes, now: float) -> None:
        """Count a frame that matches no request of ours."""
        request = read_request(frame)
        head = request.head if request is not None else frame[:3]
        accepted = self._accepted.get(head)
        if accepted == hash(frame):
            kind, what = "second", "an answer came twice"
        elif request is None and accepted is None and self._is_ours(head, now):
            kind, what = "unasked", "an answer came to a question that was over"
        else:
            kind, what = "foreign", "what another master asks, or is answered"
            self._avoid(head, now)
        self.counts[kind] += 1
        self._doubtful(f"{what}: {frame[:8].hex(' ')}", now)

    def _is_ours(self, head: bytes, now: float) -> bool:
        """True if it may answer a request of ours; for a refusal this is unknown."""
        return bool(head[1] & REFUSED) or now - self._asked.get(head, -inf) < _REMEMBERED_S

    def unproved(self, now: float) -> None:
        """Count a failed proof."""
        self.counts["unproved"] += 1
        self._doubtful("questions are not answered by their own answers", now)

    def _doubtful(self, what: str, now: float) -> None:
        self.last = what
        self.wary_until = now + WARY_S

    def _avoid(self, head: bytes, now: float) -> None:
        self._others.pop(head, None)
        if len(self._others) >= _HEADS:
            del self._others[next(iter(self._others))]
        self._others[head] = now + AVOIDED_S
        self._plain = {frame: shape for frame, shape in self._plain.items() if shape.head != head}
