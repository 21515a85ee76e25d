"""Which answer belongs to which question on RTU, where nothing in an answer says so. Pure; times in monotonic seconds.

An RTU answer shows unit, function and byte count: its *shape*. What decides about pairing is therefore which shapes
are asked:

* no two requests of a line are asked in the same shape: the later planned one is asked for some registers more, and
  what is too much is cut off. So no answer to one can pass for an answer to another, however late it comes;
* a confirming read never has the shape of the read before it, and where answers came that nobody asked for, every read
  changes its shape each time, so that an older answer to the same request does not fit either;
* after what leaves the pairing in doubt (see `bus.py`) two questions go first whose shapes nothing that may still be
  on its way has.

A device that refuses or ignores longer reads is found out and asked as planned, behind a question of another shape.
One such object lives as long as its line, over all its connections: what a converter keeps is older than these.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import inf
from typing import NamedTuple

from drivers.modbus.frames import MOST_BITS, MOST_REGISTERS, REFUSED, Ask, Seal, count_of, read, read_request, resized

WARY_S = 60.0
"""After an answer that nobody asked for the shapes change with every read for so long."""
AVOIDED_S = 3600.0
"""A shape in which others were heard is not used for so long."""
_REMEMBERED_S = 60.0
"""A converter may keep an answer to a question of that age."""
_MORE = 24
"""Registers (or bytes of bits) that a read may be longer than planned."""
_FEW = 6
"""Registers (or bytes of bits) up to which a part is asked to prove the pairing."""
_SHAPES = 4096
"""Requests whose shapes are remembered."""
_HEADS = 64
"""Shapes of others that are remembered."""
_STRIKES = 2
"""A unit ignores all but the planned counts if it was found out so often."""
_PARDON = 8
"""So many more times, if it has answered another one."""
_NOBODY = range(247, 0, -1)


_Place = tuple[int, int, int]
"""Unit, function and address."""


def _place(ask: Ask) -> _Place:
    return ask.unit, ask.pdu[0], ask.address


class UnitLimits(NamedTuple):
    """What one request to a unit may ask for."""

    registers: int = MOST_REGISTERS
    bits: int = MOST_BITS
    fixed: bool = False
    """Bits are read by one count only."""


class Pairing:
    """Chooses the shapes of one line, and keeps count of what was not paired."""

    def __init__(self, seal: Seal, limits: Mapping[int, UnitLimits]) -> None:
        self.counts = {"unasked": 0, "second": 0, "foreign": 0, "unproved": 0}
        """What came and belonged to no question of ours (a second copy of an answer; another master's words), and how
        often two questions did not prove the pairing."""
        self.last = ""
        """What was not paired the last time, in words."""
        self.wary_until = 0.0
        """Until then every read changes its shape."""
        self.brief = False
        """The other side closes after one answer: nothing can be proved, and every read changes its shape."""
        self._seal = seal
        self._limits = limits
        self._owners: dict[bytes, bytes] = {}
        self._plain: dict[bytes, Ask] = {}
        self._heads: dict[bytes, bytes] = {}
        """The shape that each request was asked in the last time, where it changes."""
        self._asked: dict[bytes, float] = {}
        """When each shape was asked the last time."""
        self._accepted: dict[bytes, int] = {}
        """The answer to it that was taken for ours, as a hash."""
        self._stale: frozenset[bytes] = frozenset()
        """Shapes that answers from before the opening may have."""
        self._others: dict[bytes, float] = {}
        """Shapes of others, and until when they are avoided."""
        self._longer: dict[_Place, bool] = {}
        self._shorter: dict[_Place, bool] = {}
        """Whether other counts than the planned one are answered there."""
        self._suspect: set[_Place] = set()
        """Where the last question, of another count, had no answer."""
        self._planned_only: set[tuple[int, int]] = set()
        """Unit and function that ignore all but the planned counts."""
        self._strikes: dict[tuple[int, int], int] = {}
        """How often the planned count was answered where another one had just not been."""
        self._known: dict[int, list[Ask]] = {}
        self.nobody = next((unit for unit in _NOBODY if unit not in limits), 0)
        """A unit that is not on this line; 0: all numbers are taken."""

    def told(self, now: float) -> dict[str, int | str | None]:
        """For health: `confused` says what came the last time, and is None after a quiet minute."""
        unpaired = self.counts["unasked"] + self.counts["second"] + self.counts["foreign"]
        confused = self.last if self.wary_until > now else None
        return {"unpaired": unpaired, "unproved": self.counts["unproved"], "confused": confused}

    def lost_in_proof(self, answered: bool) -> None:
        """The connection was lost while a proof was asked for. `answered`: after an answer, see `brief`."""
        self.brief = answered

    # ---- the shape of a request -----------------------------------------------------------------------

    def know(self, ask: Ask) -> None:
        """A periodic request: its unit is known to answer it."""
        self._known.setdefault(ask.unit, []).append(ask)

    def known(self, unit: int) -> Sequence[Ask]:
        """The periodic requests of a unit."""
        return self._known.get(unit, ())

    def plain(self, ask: Ask) -> Ask:
        """The shape in which it is asked as a rule."""
        shape = self._plain.get(ask.frame)
        if shape is None:
            shape = self._free(ask, ask.frame) or ask
            if len(self._plain) < _SHAPES:
                self._plain[ask.frame] = shape
        if shape.size != ask.size and not self._may(self._longer, ask):
            return ask
        return shape

    def other(self, ask: Ask) -> Ask | None:
        """A shape in which it was not asked lately; None: it has none."""
        key = ask.frame + b"~"
        avoid = self._stale | {self._heads.get(ask.frame, b""), self.plain(ask).head}
        shape = self._free(ask, key, avoid)
        if shape is not None:
            self._heads[ask.frame] = shape.head
        return shape

    def is_own(self, ask: Ask, shape: Ask) -> bool:
        """Whether nothing else is asked in that shape."""
        return shape.head not in self._others and self._owners.get(shape.head) in (ask.frame, ask.frame + b"~")

    def spacer(self, ask: Ask, last: bytes, units: Sequence[int]) -> Ask | None:
        """A question to go ahead of `ask`: of another shape than that and `last`. `units`: those that answer."""
        avoid = {ask.head, last}
        for unit in (ask.unit, *(unit for unit in units if unit != ask.unit)):
            fit = [shape for known in self.known(unit) if (shape := self.plain(known)).head not in avoid]
            if fit:
                return min(fit, key=lambda shape: shape.size)
        return next((shape for shape in self._counts(ask) if shape.head not in avoid), None)

    def challenge(self, ask: Ask, avoid: set[bytes], units: Sequence[int]) -> Ask:
        """A question whose answer can be no other's, as far as that is possible; the request itself if it is not."""
        old = avoid | self._stale
        fresh = [shape for shape in self._counts(ask) if shape.head not in old and shape.head not in self._owners]
        if fresh:
            return min(fresh, key=lambda shape: self._asked.get(shape.head, 0.0))
        if ask.head not in avoid:
            return ask
        return self.spacer(ask, next(iter(avoid)), units) or ask

    def nobodys(self) -> Ask:
        """A question that nobody answers."""
        return read(self.nobody, 3, 0, 1, self._seal)

    def _free(self, ask: Ask, key: bytes, avoid: frozenset[bytes] | set[bytes] = frozenset()) -> Ask | None:
        """The shortest shape that is nobody else's; it is its own from now on."""
        for shape in (ask, *self._more(ask)):
            owner = self._owners.get(shape.head)
            if owner in (None, key) and shape.head not in avoid and shape.head not in self._others:
                if len(self._owners) < _SHAPES:
                    self._owners[shape.head] = key
                return shape
        return None

    def _counts(self, ask: Ask) -> Iterator[Ask]:
        """The same request with other counts: a few, which is within what the device has, then more."""
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
        """`ask` was answered in that shape."""
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
        """It was refused; as planned it may not be."""
        habit = self._habit(ask, shape)
        if habit is not None:
            habit[_place(ask)] = False

    def silent(self, ask: Ask, shape: Ask) -> None:
        """No answer: to a count that was never answered yet that may be the reason, so the next one is as planned."""
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
        """It goes out now."""
        self._asked.pop(shape.head, None)
        self._asked[shape.head] = now
        self._accepted.pop(shape.head, None)
        if len(self._asked) > _SHAPES:
            del self._asked[next(iter(self._asked))]

    def opened(self, now: float) -> None:
        """A connection is new: what was asked before may be answered in it."""
        self._stale = frozenset(head for head, at in self._asked.items() if now - at < _REMEMBERED_S)
        self._others = {head: until for head, until in self._others.items() if until > now}

    def accepted(self, frame: bytes) -> None:
        """This answer was taken for ours."""
        self._accepted[frame[:3]] = hash(frame)

    def unpaired(self, frame: bytes, now: float) -> None:
        """This frame came and belongs to no question of ours."""
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
        """Whether it may be the answer to a question of ours; of a refusal nobody knows."""
        return bool(head[1] & REFUSED) or now - self._asked.get(head, -inf) < _REMEMBERED_S

    def unproved(self, now: float) -> None:
        """Two questions did not show that answers belong to their questions."""
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
