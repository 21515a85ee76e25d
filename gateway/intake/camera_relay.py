"""Orders for the relay of a camera: they are sent only in the answer to a push of that camera.

So only a pulse is possible, and only for a plate: no hold, and no order by fire or command. An order that misses the
answer to its own car is dropped, because the next push is about another car.
"""

import asyncio

from gateway.clock import Clock
from gateway.driver import Push, ReminderInbox
from gateway.model import Operate, Outcome

LONGEST_S = 0.15
"""How long an answer waits for an order."""


class Relays:
    """Holds one waiting order per camera. Outcomes go into the `inbox`."""

    def __init__(self, clock: Clock, inbox: ReminderInbox) -> None:
        self._clock = clock
        self._inbox = inbox
        self._waiting: dict[str, tuple[Operate, asyncio.TimerHandle]] = {}

    def operate(self, order: Operate) -> None:
        """Take an order. `value`: length of the pulse in seconds; False withdraws a waiting one; True is refused."""
        self._end(order.device, "withdrawn")
        if isinstance(order.value, bool | str):
            self._told(order, "" if order.value is False else "refused")
            return
        left = LONGEST_S if order.expires is None else min(LONGEST_S, order.expires - self._clock.now().mono)
        timer = asyncio.get_running_loop().call_later(max(0.0, left), self._end, order.device, "expired")
        self._waiting[order.device] = order, timer

    def leaves_with(self, push: Push) -> bool:
        """True if an order waits for this camera; it is then sent with the answer to this push."""
        return self._end(push.passage.camera, "")

    def _end(self, camera: str, detail: str) -> bool:
        waited = self._waiting.pop(camera, None)
        if waited is None:
            return False
        order, timer = waited
        timer.cancel()
        self._told(order, detail)
        return True

    def _told(self, order: Operate, detail: str) -> None:
        self._inbox.remind(Outcome(order.order, not detail, detail, None, self._clock.now()))
