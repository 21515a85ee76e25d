"""A broker that ends the connection at a publish that it denies: mosquitto 2.0.11 with `max_queued_messages 0`."""

from pathlib import Path

from gateway.cloud.mqtt.types import HUNG_UP, Limits
from gateway.model import Stream
from tests.cloud.memory_outbox import MemoryOutbox
from tests.cloud.mqtt.test_uplink_mosquitto import listener
from tests.cloud.running import ROOT, eventually, running
from tests.mosquitto import mosquitto

LIMITS = Limits(retry_first=1.0, retry_quick=1.0, retry_last=2.0)
NAMES = ("alarm", "alarm/active", "access", "audit", "telemetry", "health", "status", "command")


async def test_the_stream_is_found_out_and_held_and_the_others_flow(tmp_path: Path) -> None:
    acl, outbox = tmp_path / "acl", MemoryOutbox()
    acl.write_text("topic read #\n" + "".join(f"topic write {ROOT}/{name}\n" for name in NAMES if name != "access"))
    async with (
        mosquitto(tmp_path, acl_file=acl, max_queued_messages=0) as broker,
        running(broker.port, outbox, limits=LIMITS) as run,
        listener(broker.port) as heard,
    ):
        for stream in (Stream.ALARM, Stream.ACCESS, Stream.AUDIT, Stream.TELEMETRY):
            for _ in range(5):
                outbox.add(stream)
        await eventually(lambda: run.told.refusals, 20.0)
        await eventually(lambda: outbox.left == 5, 10.0)
        ((name, code),) = run.told.refusals
        assert name == Stream.ACCESS
        assert code in (0x87, HUNG_UP)
        assert run.uplink.snapshot().refused == {"access": code}
        # From now on one connection for each try, not two a second.
        before = run.uplink.snapshot().reconnects
        outbox.add(Stream.ALARM)
        outbox.add(Stream.ACCESS)
        await eventually(lambda: run.uplink.snapshot().reconnects > before, 10.0)
        await eventually(lambda: outbox.waiting(Stream.ALARM) == 0, 5.0)
        assert run.uplink.snapshot().reconnects <= before + 2
        acl.write_text("topic readwrite #\n")
        broker.reload()
        await eventually(lambda: outbox.left == 0, 15.0)
        assert run.told.refusals[-1] == (Stream.ACCESS, None)
        await eventually(lambda: len(heard.messages) > 0)


async def test_a_retained_message_that_is_denied_holds_up_nothing(tmp_path: Path) -> None:
    acl, outbox = tmp_path / "acl", MemoryOutbox()
    acl.write_text("topic read #\n" + "".join(f"topic write {ROOT}/{name}\n" for name in NAMES if name != "health"))
    async with (
        mosquitto(tmp_path, acl_file=acl, max_queued_messages=0) as broker,
        running(broker.port, outbox, limits=LIMITS) as run,
    ):
        run.uplink.set_health({"x": 1})
        for _ in range(5):
            outbox.add(Stream.ALARM)
        await eventually(lambda: outbox.left == 0 and run.told.refusals, 20.0)
        before = run.uplink.snapshot().reconnects
        outbox.add(Stream.AUDIT)
        await eventually(lambda: outbox.left == 0, 10.0)
        assert run.uplink.snapshot().reconnects <= before + 6
        assert run.told.refusals in ([("health", 0x87)], [("health", HUNG_UP)])
