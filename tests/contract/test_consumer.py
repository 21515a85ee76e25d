"""The consumer in the page does what the page says."""

import asyncio
import re
import sys
from pathlib import Path

import aiomqtt

from gateway.cloud.events import envelope
from tests.contract.capture import PAGE, ROOT
from tests.mosquitto import mosquitto


def program() -> str:
    (found,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert isinstance(found, str)
    return found


def event(number: int) -> tuple[str, bytes]:
    """An alarm event; its id follows from its number."""
    kind = "alarm.cleared" if number % 2 == 0 else "alarm.raised"
    payload = envelope(
        id_=f"01a2033c-ff83-7005-bf61-{number:012d}",
        source="/sites/xima-xincun/gateways/xmxc-01",
        type_=f"sitegateway.{kind}.v1",
        subject="tank/level/low",
        time="2026-11-22T01:02:03.123456Z",
        clock="synced",
        boot="b",
        data={},
        stream="alarm",
        sequence=number,
        journal="j",
    )
    return f"{ROOT}/alarm", payload


async def test_each_event_once_and_every_gap(tmp_path: Path) -> None:
    script = tmp_path / "consumer.py"
    script.write_text(program())
    async with mosquitto(tmp_path) as broker:
        consumer = await asyncio.create_subprocess_exec(
            sys.executable, str(script), "127.0.0.1", str(broker.port), stdout=asyncio.subprocess.PIPE
        )
        try:
            assert consumer.stdout is not None
            lines: list[str] = []
            async with aiomqtt.Client("127.0.0.1", broker.port) as gateway, asyncio.timeout(20):
                while "SUBACK to my-cloud" not in broker.log:
                    await asyncio.sleep(0.02)
                for number in (1, 2, 2, 1, 3, 6, 4, 7):
                    await gateway.publish(*event(number), qos=1)
                while not lines or "gap" in lines[-1] or len(lines) < 7:
                    lines.append((await consumer.stdout.readline()).decode().strip())
        finally:
            consumer.kill()
            await consumer.wait()

    raised, cleared = "sitegateway.alarm.raised.v1 tank/level/low", "sitegateway.alarm.cleared.v1 tank/level/low"
    assert lines == [raised, cleared, raised, "gap before alarm 6", cleared, cleared, raised]


def test_it_is_short() -> None:
    assert len(program().splitlines()) <= 30
