"""The newest wall time that is believed: what no later clock may be read before. Pure.

A clock is set by whoever answers for the time server, and a hardware clock may show anything. So a time counts only
if it was synced; and one that is more than a day away from where the time known before has run on to (by monotonic
time) counts only after it has stayed there for a day. Until then the time known before runs on.
"""

DAY_S = 86400.0
_SAME_S = 3600.0
"""Two readings that differ from monotonic time by less than this are the same claim."""


class Believed:
    """`value`: wall seconds; None: no synced time was seen yet. `mono`: monotonic seconds at which that is known."""

    def __init__(self, value: float | None, mono: float) -> None:
        self.value = value
        self._anchor = value, mono
        self._claim: tuple[float, float] | None = None
        self._followed = False

    @property
    def doubted(self) -> bool:
        """The clock was set by more than a day while we looked, and that is not believed yet."""
        return self._claim is not None and self._followed

    def see(self, wall: float, mono: float, *, synced: bool) -> None:
        """The clock shows `wall` at `mono`."""
        start, since = self._anchor
        if self.value is None or start is None:
            if synced:
                self._follow(wall, mono)
            return
        expected = start + mono - since
        if abs(wall - expected) <= DAY_S:
            self._claim = None
            if synced:
                self._follow(max(wall, self.value), mono, anchor=wall)
                return
        elif synced and self._has_stayed(wall, mono):
            self._claim = None
            self._follow(wall, mono)
            return
        self.value = max(self.value, min(wall, expected))

    def _follow(self, value: float, mono: float, *, anchor: float | None = None) -> None:
        self.value = value
        self._anchor = value if anchor is None else anchor, mono
        self._followed = True

    def _has_stayed(self, wall: float, mono: float) -> bool:
        offset = wall - mono
        if self._claim is None or abs(offset - self._claim[0]) > _SAME_S:
            self._claim = offset, mono
        return mono - self._claim[1] >= DAY_S
