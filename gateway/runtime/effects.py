"""Carries out the effects of a site step: at the lines, at the cameras, outside the site; and replies.

effects = Effects(line_of, inbox, clock, orders=orders, errands=errands, …)
effects.carry_out(act)          # the caller waits for the commit if the effect needs it
await orders.run()              # in a task group, as errands.run()
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING

from gateway.arguments import duration, number
from gateway.clock import Clock
from gateway.cloud import events
from gateway.cloud.commands.exchange import Exchange
from gateway.cloud.commands.replay import Replay
from gateway.cloud.mqtt.uplink import Uplink
from gateway.commands import TRIAL_S
from gateway.driver import SiteInbox
from gateway.errors import ConfigError, DeviceRefused, DeviceSilent, GatewayError, LineDown, NotDone
from gateway.field.lines import Line
from gateway.local.requests import People
from gateway.log import logger
from gateway.model import Errand, Json, KeepPictures, Operate, Outcome, Perform, Performed, ReadNow, Reply
from gateway.runtime.reconfigure import Reconfiguration, Surroundings
from gateway.runtime.site_loop import Act

if TYPE_CHECKING:
    from gateway.intake.cameras import Gatehouse

_log = logger(__name__)

_AT_ONCE = 16
_WAITING = 256


class Effects:
    """Carries out every effect except events and memory. `line_of`: the line of each polled device."""

    def __init__(  # noqa: PLR0913 - everything that it calls
        self,
        line_of: Mapping[str, Line],
        inbox: SiteInbox,
        clock: Clock,
        *,
        orders: "Orders",
        errands: "Errands",
        people: People,
        exchange: Exchange,
        uplink: Uplink,
        cameras: "Gatehouse | None",
    ) -> None:
        self._line_of = line_of
        self._orders = orders
        self._errands = errands
        self._people = people
        self._exchange = exchange
        self._uplink = uplink
        self._cameras = cameras
        self._clock = clock
        self._inbox = inbox

    def carry_out(self, act: Act) -> None:
        """Begin an effect; never waits."""
        match act:
            case ReadNow(device, points) if device in self._line_of:
                self._line_of[device].read_now(device, points)
            case Operate() if act.device in self._line_of:
                self._orders.operate(act)
            case Operate() if self._cameras is not None:
                self._cameras.relays.operate(act)
            case Operate():  # the relay of a camera, in a process without cameras
                self._inbox.remind(Outcome(act.order, False, "refused", None, self._clock.now()))
            case KeepPictures() if self._cameras is not None:
                self._cameras.entrance.keep(act)
            case Reply(local=True):
                self._people.answer(act)
            case Reply():
                for answer in self._exchange.answers(act):
                    self._uplink.reply(*answer)
            case Perform():
                self._errands.perform(act)


# ---- writes on the lines ------------------------------------------------------------------------------


class Orders:
    """Writes on the lines, each with exactly one `Outcome`. `line_of`: the line of each device.

    A later order for the same point withdraws an earlier one that still waits, so that an old value is never written
    after a newer one.
    """

    def __init__(self, line_of: Mapping[str, Line], clock: Clock, inbox: SiteInbox) -> None:
        self._line_of = line_of
        self._clock = clock
        self._inbox = inbox
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
        """Begin an order. Orders given before `run` begin with it, such as holds known at the start."""
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
        self._inbox.remind(Outcome(order.order, not detail, detail, None, self._clock.now(), sent))


# ---- what is done outside of the site -----------------------------------------------------------------


class Errands:
    """What the site has done outside: takes `Perform`, returns exactly one `Performed` each.

    16 run at once, so a silent device does not hold up others.
    """

    def __init__(self, clock: Clock, inbox: SiteInbox, table: Mapping[str, Errand]) -> None:
        self._clock = clock
        self._inbox = inbox
        self._table = table
        self._asked: deque[Perform] = deque()
        self._changed = asyncio.Event()
        self._under_way = 0

    def perform(self, act: Perform) -> None:
        """Queue an errand; if over 256 wait it is refused."""
        self._asked.append(act)
        self._changed.set()

    async def run(self) -> None:
        """Run errands until cancelled. A bug in one ends only that one."""
        async with asyncio.TaskGroup() as group:
            while True:
                while not self._asked or self._under_way >= _AT_ONCE:
                    self._changed.clear()
                    await self._changed.wait()
                act = self._asked.popleft()
                self._under_way += 1
                group.create_task(self._one(act, crowded=len(self._asked) >= _WAITING), name=f"errand {act.cmd}")

    async def _one(self, act: Perform, *, crowded: bool) -> None:
        try:
            result = NotDone("interlocked", "too much is under way") if crowded else await self._outcome(act)
        finally:
            self._under_way -= 1
            self._changed.set()
        now = self._clock.now()
        if isinstance(result, NotDone):
            await self._inbox.put(Performed(act.order, False, None, result.code, str(result), now))
        else:
            await self._inbox.put(Performed(act.order, True, result, "", "", now))

    async def _outcome(self, act: Perform) -> Json | NotDone:
        errand = self._table.get(act.cmd)
        if errand is None:
            return NotDone("unknown", f"{act.cmd} is not done here")
        try:
            return await errand(act)
        except NotDone as no:
            return no
        except (DeviceSilent, LineDown) as error:
            return NotDone("silent", str(error))
        except DeviceRefused as error:
            return NotDone("refused-by-device", str(error))
        except ConfigError as error:
            return NotDone("bad-args", str(error))
        except Exception:  # noqa: BLE001 - a bug, which must not end the process with each request and stop all alarms
            _log.exception("an errand failed by a fault of the gateway", cmd=act.cmd)
            return NotDone("unknown", "it failed by a fault of the gateway, which stands in its log")


def of_lines(line_of: Mapping[str, Line]) -> Mapping[str, Errand]:
    """`read`; the site has checked its arguments."""

    async def read(act: Perform) -> Json:
        point, device = act.args.get("point"), str(act.args["device"])
        if device not in line_of:
            raise ConfigError(f"{device} is not asked: it tells by itself")
        readings = await line_of[device].fetch(device, (str(point),) if point else None)
        data: Json = {"device": device, "readings": events.readings_data(readings)}
        return data

    return {"read": read}


def of_configuration(file: Reconfiguration, around: Surroundings) -> Mapping[str, Errand]:
    """`config.get` and `config.apply`."""

    async def get(_act: Perform) -> Json:
        return file.get()

    async def apply(act: Perform) -> Json:
        trial = act.args.get("trial")
        trial_s = TRIAL_S if trial is None else duration(trial)
        return await file.apply(str(act.args["file"]), trial_s, act.by, around)

    return {"config.get": get, "config.apply": apply}


def of_history(replay: Replay) -> Mapping[str, Errand]:
    """`events.replay`."""

    async def again(act: Perform) -> Json:
        first, last = number(act.args["first"]), number(act.args["last"])
        return await replay.begin(str(act.args["stream"]), first, last)

    return {"events.replay": again}
