"""The arms of a site's gates: up some time after an output moves them, down again when nothing holds them."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from simulators.site import VirtualSite

MOVES_S: Final = 1.5
"""From the command to the end of the move."""
STAYS_S: Final = 5.0
"""How long a pulse keeps a barrier up, from its beginning."""
_LOOK_S: Final = 0.05


@dataclass(slots=True)
class _Arm:
    point: str
    outputs: tuple[str, ...]
    on_since: float | None = None
    up: bool = False
    """Where it is, or is going to."""
    arrives: float | None = None


class Arms:
    """Moves the feedback `arm` of each gate that has one. Between two moves it stays as whoever `set` it left it."""

    def __init__(self, site: "VirtualSite") -> None:
        self._site = site
        self._arms: list[_Arm] = []
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Look at the outputs from now on. The relay of a camera is none of the site's lines."""
        for gate in self._site.site.gates.values():
            refs = {key: ref for key, ref in gate.refs().items() if self._there(ref)}
            outputs = tuple(refs[key] for key in ("open", "hold") if key in refs)
            if "arm" in refs and outputs:
                self._arms.append(_Arm(refs["arm"], outputs))
        if self._arms:
            self._look()

    def end(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
        self._arms.clear()

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        for arm in self._arms:
            self._move(arm, loop.time())
        self._timer = loop.call_later(_LOOK_S, self._look)

    def _move(self, arm: _Arm, now: float) -> None:
        on = any(self._site.value(output) is True for output in arm.outputs)
        if on and arm.on_since is None:
            arm.on_since = now
        elif not on and arm.on_since is not None and now >= arm.on_since + STAYS_S:
            arm.on_since = None
        up = arm.on_since is not None
        if up is not arm.up:
            arm.up, arm.arrives = up, now + MOVES_S
        if arm.arrives is not None and now >= arm.arrives:
            arm.arrives = None
            self._site.set(arm.point, arm.up)

    def _there(self, ref: str) -> bool:
        device, _, point = ref.partition(".")
        try:
            return point in self._site.device(device).points
        except KeyError:
            return False
