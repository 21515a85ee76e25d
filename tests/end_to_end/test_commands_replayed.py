"""Commands that were recorded at the broker, sent again once the clock was set back, or the store begun anew.

Real processes on a real broker; what was recorded is sent by somebody who has the broker's login and no key.
"""

import asyncio
import shutil
import time
from pathlib import Path
from typing import Any

from tests.end_to_end.at_a_time import SYNCED, UNSYNCED, off_by
from tests.end_to_end.compound import HEAD, RELAY, SOURCE, Compound, compound
from tests.end_to_end.process import running

HOUR = 3600.0
SMOKE = """\
kind: smoke-detector, zone: b3, points: {smoke: {at: holding 0, every: 200ms, alarms: {fire: {kind: fire, equals: 1}}}}\
"""
SITE = f"""\
{HEAD.replace("[gate.open,", "[zone.test, gate.open,")}
lines:
  loop: {{driver: modbus, tcp: "127.0.0.1:1"}}
zones: {{b3: {{}}}}
devices:
  smoke-1: {{line: loop, unit: 1, {SMOKE}}}
  smoke-2: {{line: loop, unit: 2, {SMOKE}}}
  relay:
    line: loop
    unit: 9
{RELAY}
gates:
  north: {{open: relay.do1, hold: relay.do2, on_loss: keep}}
linkage:
  evacuation: {{hold: [north]}}
"""
TEST = {"zone": "b3", "for": "4h"}


async def replies(it: Compound, jti: str, token: str) -> dict[str, Any]:
    """What is answered to it now."""
    it.cloud.replies.pop(jti, None)
    await it.cloud.send(SOURCE, token.encode())
    await it.cloud.until(lambda seen: jti in seen.replies)
    return dict(it.cloud.replies[jti]["data"])


async def burn(it: Compound) -> None:
    """Two detectors see a fire: the gate is held within a second of the second one's confirmation."""
    for name in ("smoke-1", "smoke-2"):
        it.virtual.set(f"{name}.smoke", 1)
    await it.until_standing("smoke-1/smoke/fire", "smoke-2/smoke/fire")
    await it.until(lambda: it.on("relay.do2"), 2.0)


async def test_a_clock_that_is_set_back_over_a_restart_brings_no_command_to_life(tmp_path: Path) -> None:
    """An hour back, as a time server that lies may have it: the zone is under no test, and the relay does not move."""
    async with compound(tmp_path, SITE) as it:
        claims = it.every_key.claims("zone.test", TEST, iat=int(time.time()) - 600, exp=int(time.time()) - 540)
        withheld = it.every_key.sign(claims)  # it never arrived in its time
        opening = it.signer.claims("gate.open", {"gate": "north"}, iat=int(time.time()) + 2)
        opened = it.signer.sign(opening)
        async with running(it.site, SYNCED):
            await it.online()
            assert (await replies(it, opening["jti"], opened))["ok"]
            await it.until(lambda: [one.value for one in it.written("relay", "do1")] == [True, False])
        async with running(it.site, off_by(-600.0)):
            await it.cloud.until(lambda seen: len(seen.of("gateway.started")) == 2)
            assert (await replies(it, claims["jti"], withheld))["error"]["code"] == "expired"
            assert (await replies(it, opening["jti"], opened))["ok"], "the first reply again"
            await burn(it)
            assert [one.value for one in it.written("relay", "do1")].count(True) == 1, "the relay did not move again"


async def test_on_a_store_begun_anew_nothing_that_was_recorded_runs(tmp_path: Path) -> None:
    async with compound(tmp_path, SITE) as it:
        recorded = [
            (it.every_key, it.every_key.claims("zone.test", TEST, life=HOUR)),
            (it.every_key, it.every_key.claims("device.disable", {"device": "smoke-1", "for": "1h"}, life=HOUR)),
            (it.signer, it.signer.claims("alarm.shelve", {"device": "relay", "for": "1h"}, life=HOUR)),
            (it.signer, it.signer.claims("read", {"device": "relay"}, life=HOUR)),
        ]
        async with running(it.site, SYNCED):
            await it.online()
        await asyncio.to_thread(shutil.rmtree, tmp_path / "store")
        await asyncio.sleep(1.0)  # iat counts whole seconds
        async with running(it.site, SYNCED):
            await it.cloud.until(lambda seen: len(seen.of("gateway.started")) == 2)
            for signer, claims in recorded:
                assert (await replies(it, claims["jti"], signer.sign(claims)))["error"]["code"] == "expired", claims
            await burn(it)


async def test_a_store_begun_before_the_clock_was_set_takes_nothing_recorded_before_that(tmp_path: Path) -> None:
    """Begun in 1970: its birth is told by the clock that was set later."""
    async with compound(tmp_path, SITE) as it:
        claims = it.every_key.claims("zone.test", TEST, life=HOUR, iat=int(time.time()) - 60)
        async with running(it.site, (UNSYNCED[0], "unsynced", str(-time.time()))):
            await it.online()
        async with running(it.site, SYNCED):
            await it.cloud.until(lambda seen: len(seen.of("gateway.started")) == 2)
            assert (await replies(it, claims["jti"], it.every_key.sign(claims)))["error"]["code"] == "expired"
            await burn(it)
