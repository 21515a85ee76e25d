"""Sentences about the way of a command that no other test holds."""

import asyncio
import time
from pathlib import Path

import aiomqtt
import pytest

from gateway.clock import Clock
from gateway.cloud.mqtt.board import Nonces
from gateway.cloud.mqtt.codec import MAX_PACKET_BYTES
from gateway.model import Refused
from simulators.broker import LocalBroker
from tests.cloud.commands.test_exchange import OPEN, SIGNER, cloud, wired
from tests.cloud.memory_outbox import MemoryOutbox
from tests.cloud.running import ROOT, an_uplink, eventually, settings
from tests.cloud.signing import DISTRICT, claims, refused, sign, verifier
from tests.mosquitto import mosquitto


async def test_a_nonce_is_replaced_every_60_seconds_of_monotonic_time_and_the_one_before_is_accepted() -> None:
    ahead, back = 0.0, 0.0
    clock = Clock(mono=lambda: time.monotonic() + ahead, wall=lambda: time.time() - back, synced=lambda: False)
    async with LocalBroker() as broker, asyncio.TaskGroup() as group:
        nonces = Nonces()
        uplink = an_uplink(settings(broker.port), MemoryOutbox(), clock, nonces=nonces)
        uplink.set_standing({}, 0)
        task = group.create_task(uplink.run(), name="uplink")
        await eventually(lambda: len(nonces.good) == 1)
        (first,) = nonces.good
        back = 3600.0
        ahead = 58.0
        uplink.set_standing({}, 0)
        assert nonces.good == (first,)
        ahead = 60.5
        await eventually(lambda: len(nonces.good) == 2)
        second, kept = (*nonces.good, "")[:2]
        ahead = 121.0
        await eventually(lambda: nonces.good[0] != second)

        assert kept == first
        assert second in nonces.good[1:]
        assert first not in nonces.good
        assert {len(bytes.fromhex(one)) for one in (first, second)} == {16}, "128 bits"
        task.cancel()


@pytest.mark.parametrize("when", ["before", "live"])
async def test_a_retained_command_is_seen_as_such_and_refused(tmp_path: Path, when: str) -> None:
    token = SIGNER.sign(SIGNER.claims("gate.open", OPEN))
    async with mosquitto(tmp_path) as broker:
        port = broker.port
        if when == "before":
            async with aiomqtt.Client("127.0.0.1", port) as client:
                await client.publish(f"{ROOT}/command", token, qos=1, retain=True)
        async with wired(port) as it, cloud(port):
            if when == "live":
                async with aiomqtt.Client("127.0.0.1", port) as client:
                    await client.publish(f"{ROOT}/command", token, qos=1, retain=True)
            await eventually(lambda: bool(it.taken))

            assert isinstance(it.taken[0], Refused)
            assert it.taken[0].code == "retained"


@pytest.mark.parametrize(("life", "code"), [(120, None), (121, "bad-args")])
def test_a_write_lives_no_longer_than_a_gate_command(life: int, code: str | None) -> None:
    said = claims(cmd="write", args={"point": "d.p", "value": True})
    said["exp"] = said["iat"] + life

    result = verifier().verify(sign(said, DISTRICT, "district"))

    assert (refused(result) if isinstance(result, Refused) else None) == code


def test_the_limit_that_is_announced() -> None:
    assert MAX_PACKET_BYTES == 256 << 10
