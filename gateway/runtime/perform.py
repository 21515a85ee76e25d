"""What the site asks to have done outside of it: `Perform` in, exactly one `Performed` back.

errands = Errands(clock, put, {"config.get": …, "events.replay": …})
errands.perform(act)            # of a step, after its commit
await errands.run()             # in a task group
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping

from gateway.arguments import duration, number
from gateway.clock import Clock
from gateway.cloud.commands.replay import Replay
from gateway.commands import TRIAL_S
from gateway.errors import ConfigError, DeviceRefused, DeviceSilent, LineDown, NotDone
from gateway.log import logger
from gateway.model import Errand, Json, Perform, Performed
from gateway.runtime.reconfigure import Reconfiguration

_log = logger(__name__)

_AT_ONCE = 16
_WAITING = 256


class Errands:
    """Runs them side by side, 16 at once: a silent device holds up nobody else. `put` hands what came of one back."""

    def __init__(self, clock: Clock, put: Callable[[Performed], Awaitable[None]], table: Mapping[str, Errand]) -> None:
        self._clock = clock
        self._put = put
        self._table = table
        self._asked: deque[Perform] = deque()
        self._changed = asyncio.Event()
        self._under_way = 0

    def perform(self, act: Perform) -> None:
        """Line it up; over 256 waiting it is refused."""
        self._asked.append(act)
        self._changed.set()

    async def run(self) -> None:
        """Until cancelled. A bug in an errand passes through."""
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
            await self._put(Performed(act.order, False, None, result.code, str(result), now))
        else:
            await self._put(Performed(act.order, True, result, "", "", now))

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


def of_configuration(
    file: Reconfiguration, answering: Callable[[], Collection[str]], interlock: Callable[[], str | None]
) -> Mapping[str, Errand]:
    """`config.get` and `config.apply`. `answering`: lines that answer; `interlock`: why nothing may change, or None."""

    async def get(_act: Perform) -> Json:
        return file.get()

    async def apply(act: Perform) -> Json:
        trial = act.args.get("trial")
        trial_s = TRIAL_S if trial is None else duration(trial)
        return await file.apply(str(act.args["file"]), trial_s, act.by, answering(), interlock)

    return {"config.get": get, "config.apply": apply}


def of_history(replay: Replay) -> Mapping[str, Errand]:
    """`events.replay`."""

    async def again(act: Perform) -> Json:
        first, last = number(act.args["first"]), number(act.args["last"])
        return await replay.begin(str(act.args["stream"]), first, last)

    return {"events.replay": again}
