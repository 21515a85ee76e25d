"""The gateway dies: the module opens the gate whose `on_loss` is open, and the next life finds it so."""

import asyncio
from pathlib import Path

import orjson

from gateway.config.points import At
from tests.end_to_end.compound import HEAD, Compound, compound
from tests.end_to_end.process import running
from tests.technician.command import site_gateway

_AFTER = 5.0
_MODULE = """\
    line: gate-io
    kind: relay
    limits: {timeout: 250ms}
    points:
      do1: {at: coil 0, write: true, loss: {watchdog: "holding 260", safe: "holding 129", after: 5s, tick: 100ms}}
      do2: {at: coil 1, write: true, loss: {watchdog: "holding 260", safe: "holding 130", after: 5s, tick: 100ms}}
"""
SITE = f"""\
{HEAD}
lines:
  gate-io: {{driver: modbus, tcp: "127.0.0.1:1"}}
devices:
  opens:
    unit: 1
{_MODULE}
  keeps:
    unit: 2
{_MODULE}
gates:
  north: {{open: opens.do1, hold: opens.do2, on_loss: open}}
  south: {{open: keeps.do1, hold: keeps.do2, on_loss: keep}}
"""


async def test_a_gateway_that_dies_opens_the_gate_and_the_next_one_finds_it_open(tmp_path: Path) -> None:
    async with compound(tmp_path, SITE) as it:
        async with running(it.site) as gateway:
            await told(it)
            assert await doctor(it) == {
                "gate north": ("good", "opens.do2 goes on 5 s after the gateway falls silent"),
                "gate south": ("good", "keeps.do2 stays as it is when the gateway falls silent: the watchdog is off"),
            }
            await told_again(it)
            assert (await it.asked("watch"))["readings"]["opens"].keys() == {"do1", "do2"}, "settings are no readings"
            assert not it.on("opens.do2")
            at = asyncio.get_running_loop().time()
            await gateway.kill()
            await it.until(lambda: it.on("opens.do2"))
            assert asyncio.get_running_loop().time() - at > _AFTER - 1.5, "polling feeds the watchdog"
        assert it.virtual.value("opens.do1") is False, "the output that is pulsed has no safe value of ours"
        assert it.virtual.value("keeps.do2") is False
        before = len(it.written("opens"))

        async with running(it.site):
            standing = await it.until_standing("held-unknown")
            assert standing["held-unknown"]["kind"] == "gate"
            assert it.on("opens.do2"), "adopted: a person lets it go"
            assert (await it.person("gate.release", gate="north", reason="it was the box"))["ok"]
            await it.until(lambda: not it.on("opens.do2"))
        addresses = {one.address for one in it.written("opens")[before:]}
        assert addresses == {1}, "what the module knows already is not written again"
        assert it.written("keeps") == []


async def told(it: Compound) -> None:
    """Wait until the module knows; the safe value went first."""
    module = it.virtual.device("opens")
    await it.until(lambda: module.peek(At("holding", 260)) == (50,))
    assert [(one.address, one.values) for one in it.written("opens")] == [(130, (1,)), (260, (50,))]


async def told_again(it: Compound) -> None:
    """The module loses its power for a moment, and with it what it was told."""
    module = it.virtual.device("opens")
    for setting in ("06 0104 0000", "06 0082 0000"):
        module.answer(bytes.fromhex(setting), asyncio.get_running_loop().time())
    it.virtual.line_down("gate-io", "close")
    await it.until(
        lambda: [(one.address, one.values) for one in it.written("opens")[4:]] == [(130, (1,)), (260, (50,))]
    )


async def doctor(it: Compound) -> dict[str, tuple[str, str]]:
    """What `doctor` says of the gates."""
    ended = await site_gateway("doctor", it.site, "--json")
    signs = orjson.loads(ended.out)
    return {
        sign["about"]: (sign["level"], sign["what"])
        for sign in signs
        if sign["about"].startswith("gate") and sign["about"] != "gateway"
    }
