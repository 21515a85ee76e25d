"""What the box tells of itself on wires: it lives, its power, what sounds in the guard room."""

import asyncio
from pathlib import Path

from tests.end_to_end.compound import HEAD, SMOKE, Compound, compound
from tests.end_to_end.process import running

SITE = f"""\
{HEAD}
lines:
  gate-io: {{driver: modbus, tcp: "127.0.0.1:1"}}
zones: {{b3: {{}}}}
devices:
  smoke-1: {{line: gate-io, unit: 2, {SMOKE}}}
  relay:
    line: gate-io
    unit: 1
    kind: relay
    points:
      do1: {{at: coil 0, write: true, pulse: {{at: coil 512, step: 100ms}}}}
      do2: {{at: coil 1, write: true}}
      do3: {{at: coil 2, write: true}}
      di1: {{at: discrete 0}}
      di2: {{at: discrete 1}}
      di3: {{at: discrete 2}}
annunciator: {{fire: relay.do2, fault: relay.do3, silence: relay.di3}}
self: {{alive: relay.do1, mains: relay.di1, battery: relay.di2}}
"""


async def test_own_signals(tmp_path: Path) -> None:
    async with compound(tmp_path, SITE) as it:
        for power in ("relay.di1", "relay.di2"):
            it.virtual.set(power, True)
        async with running(it.site):
            await it.until(lambda: it.on("relay.do1"))
            pulse = it.written("relay")[0]
            assert (pulse.address, pulse.values) == (512, (150,)), "it drops by itself 15 s after our last word"
            await it.cloud.until(lambda seen: "status" in seen.latest)

            it.virtual.set("relay.di1", False)
            standing = await it.until_standing("relay/di1/mains")
            assert standing["relay/di1/mains"]["kind"] == "power"
            await it.until(lambda: it.on("relay.do3"))
            await silence(it)
            await it.until(lambda: not it.on("relay.do3"))
            it.virtual.set("relay.di1", True)
            it.virtual.set("relay.di2", False)
            await it.until_standing("relay/di2/battery")
            await it.until(lambda: it.on("relay.do3"))
            it.virtual.set("relay.di2", True)
            await it.until(lambda: not it.on("relay.do3"))
            await not_delivered(it)


async def not_delivered(it: Compound) -> None:
    """A fire that nobody hears of sounds anew, though it was silenced."""
    await it.broker.stop()
    it.virtual.set("smoke-1.smoke", 1)
    await it.until(lambda: it.on("relay.do2"))
    await silence(it)
    await it.until(lambda: not it.on("relay.do2"))
    await it.until(lambda: it.on("relay.do2"), 15.0)
    await it.until_standing("not-delivered")


async def silence(it: Compound) -> None:
    """Somebody presses the button."""
    it.virtual.set("relay.di3", True)
    await it.until(lambda: not (it.on("relay.do2") or it.on("relay.do3")))
    it.virtual.set("relay.di3", False)
    async with asyncio.timeout(10):
        while (await it.asked("watch"))["readings"]["relay"]["di3"]["value"]:
            await asyncio.sleep(0.05)
