"""Carries out the site's orders on the lines, and tells it what became of each.

Every `Operate` has exactly one `Outcome`. A later order for the same point withdraws an earlier one that
still waits, so that no old wish is written after a new one.
"""

import asyncio
from collections.abc import Callable, Mapping

from gateway.clock import Clock
from gateway.errors import ConfigError, DeviceRefused, DeviceSilent, GatewayError, LineDown
from gateway.field.lines import Line
from gateway.model import Input, Operate, Outcome


class Orders:
    """`line_of`: the line of each device. `tell` hands an outcome to the site and never waits."""

    def __init__(self, line_of: Mapping[str, Line], clock: Clock, tell: Callable[[Input], None]) -> None:
        self._line_of = line_of
        self._clock = clock
        self._tell = tell
        self._waiting: list[Operate] = []
        self._group: asyncio.TaskGroup | None = None
        self._under_way: dict[tuple[str, str], tuple[Operate, asyncio.Task[None]]] = {}

    async def run(self) -> None:
        """Carry out orders until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                waiting, self._waiting = self._waiting, []
                for order in waiting:
                    self.operate(order)
                await asyncio.get_running_loop().create_future()
        finally:
            self._group = None

    def operate(self, order: Operate) -> None:
        """Begin one. Orders given before `run` begin with it: holds that are known at the start."""
        if self._group is None:
            self._waiting.append(order)
            return
        if order.device not in self._line_of:
            self._end(order, "refused")
            return
        key = order.device, order.point
        earlier = self._under_way.get(key)
        if earlier is not None and earlier[1].cancel():
            self._end(earlier[0], "withdrawn")
        task = self._group.create_task(self._carry_out(order), name=f"order {order.device}.{order.point}")
        self._under_way[key] = order, task
        task.add_done_callback(lambda done: self._forget(key, done))

    def _forget(self, key: tuple[str, str], task: asyncio.Task[None]) -> None:
        if key in self._under_way and self._under_way[key][1] is task:
            del self._under_way[key]

    async def _carry_out(self, order: Operate) -> None:
        try:
            sent = await self._line_of[order.device].order(order.device, order.point, order.value, order.expires)
        except GatewayError as error:
            self._end(order, self._why(order, error))
        else:
            self._end(order, "", sent)

    def _why(self, order: Operate, error: GatewayError) -> str:
        if isinstance(error, DeviceRefused | ConfigError):
            return "refused"
        expired = order.expires is not None and self._clock.now().mono >= order.expires
        if isinstance(error, DeviceSilent | LineDown):
            return "expired" if expired else "silent"
        raise error

    def _end(self, order: Operate, detail: str, sent: float | None = None) -> None:
        self._tell(Outcome(order.order, not detail, detail, None, self._clock.now(), sent))
