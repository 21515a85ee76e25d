"""Reads for a round: fresh points of one device, in the normal lane. Nothing is written."""

import asyncio
from collections.abc import Mapping, Sequence

from gateway.clock import Clock
from gateway.cloud.events import readings_data
from gateway.errors import DeviceError, DeviceRefused, DeviceSilent, LineDown
from gateway.field.lines import Line
from gateway.field.readings import Fetched
from gateway.model import Errand, Json, Perform
from gateway.site.round_run import READ

_WITHIN_S = 60.0
"""A read that takes longer, on a crowded line, is given up."""


class RoundReads:
    """Reads for rounds. `lines`: the line of each polled device."""

    def __init__(self, lines: Mapping[str, Line], clock: Clock) -> None:
        self._lines = lines
        self._clock = clock

    def errands(self) -> Mapping[str, Errand]:
        """The errands, by command of the `Perform`."""
        return {READ: self._read}

    async def _read(self, act: Perform) -> Json:
        """Take `{device, points, since}`: what arrived after `since` (monotonic seconds) is fresh; None: read anew.

        Returns `{readings, registers, answer_ms, clock}` or `{failed: silent | line-down | refused | not-asked}`.
        """
        device, since = str(act.args["device"]), act.args.get("since")
        named = act.args["points"]
        points = tuple(map(str, named)) if isinstance(named, Sequence) else ()
        line = self._lines.get(device)
        if line is None:
            return {"failed": "not-asked"}
        if isinstance(since, int | float):
            known = line.latest(device, points, since)
            if known is not None:
                return self._answer(known, None)
        began = self._clock.now().mono
        try:
            async with asyncio.timeout(_WITHIN_S):
                fetched = await line.fetch_raw(device, points or None)
        except DeviceRefused:
            return {"failed": "refused"}
        except LineDown:
            return {"failed": "line-down"}
        except DeviceSilent:
            return {"failed": "silent"}
        except (DeviceError, TimeoutError):
            return {"failed": "not-asked"}  # the line had no time for it: not the device's fault
        return self._answer(fetched, round((self._clock.now().mono - began) * 1000, 1))

    def _answer(self, fetched: Fetched, answer_ms: float | None) -> Json:
        data: dict[str, Json] = {
            "readings": readings_data(fetched.readings), "registers": fetched.registers, "answer_ms": answer_ms,
            "clock": "synced" if self._clock.now().synced else "unsynced",
        }  # fmt: skip
        return data
