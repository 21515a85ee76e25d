"""After three crashes in a minute only fire runs, for ten minutes: then everything is tried again by itself."""

import asyncio
import os
from pathlib import Path

import pytest

from tests.end_to_end.browsing import listening
from tests.end_to_end.compound import SOURCE, Compound, compound
from tests.end_to_end.patient import PATIENT, WAITED
from tests.end_to_end.process import running
from tests.end_to_end.test_commands_replayed import SITE, burn, replies
from tests.end_to_end.test_page import page_of

FLOOD = 200


async def crash(it: Compound, times: int) -> None:
    for _ in range(times):
        async with running(it.site, PATIENT) as gateway:
            await it.online()
            await gateway.kill()


async def ignored(it: Compound) -> int:
    return int((await it.asked("status"))["process"]["ignored"])


async def test_what_was_off_after_crashes_comes_back_by_itself(tmp_path: Path) -> None:
    async with compound(tmp_path, f"{SITE}http: {{status: {{listen: '127.0.0.1:2'}}}}\n") as it:
        await crash(it, 3)
        async with running(it.site, PATIENT) as gateway:
            page = page_of(it.site)
            with pytest.raises(TimeoutError):
                await listening(page, within=1.0)
            await it.cloud.until(lambda seen: bool(seen.of("alarm.raised", "gateway/crashes")))
            text = it.cloud.of("alarm.raised", "gateway/crashes")[0]["data"]["text"]
            assert text == "3 crashes in 60 s: cameras, page and commands are off for 10 min"
            log = it.site.with_suffix(".log")
            before = log.stat().st_size
            for number in range(FLOOD):
                await it.cloud.send(SOURCE, b"x" * number)
            async with asyncio.timeout(10):
                while await ignored(it) < FLOOD:
                    await asyncio.sleep(0.05)
            assert log.stat().st_size - before < 2048, "counted, not logged one by one"
            pid = gateway.pid
            os.kill(pid, WAITED)
            await it.cloud.until(lambda seen: bool(seen.of("alarm.cleared", "gateway/crashes")), 20.0)
            claims = it.signer.claims("gate.open", {"gate": "north"})
            assert (await replies(it, claims["jti"], it.signer.sign(claims)))["ok"], "commands are on again"
            assert (await it.asked("status"))["process"]["reduced"] is False
            await listening(page)
            assert gateway.running
            assert it.cloud.of("gateway.stopping")[-1]["data"]["reason"] == "what was off after crashes is tried again"


async def test_a_reduced_life_goes_on_while_a_gate_is_held_by_fire(tmp_path: Path) -> None:
    async with compound(tmp_path, SITE) as it:
        await crash(it, 3)
        async with running(it.site, PATIENT) as gateway:
            await burn(it)
            writes = len(it.written("relay"))
            os.kill(gateway.pid, WAITED)
            await asyncio.sleep(3.0)  # it looks each second
            assert (await it.asked("status"))["process"]["reduced"] is True
            assert it.on("relay.do2")
            assert len(it.written("relay")) == writes, "holds are untouched"
