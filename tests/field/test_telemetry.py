import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import orjson

from gateway.field.telemetry import TelemetrySender
from gateway.model import Instant, Quality, Reading
from tests import virtual_time


@dataclass
class Table:
    """Of a device."""

    values: dict[str, Reading]

    def picture(self) -> dict[str, Reading]:
        return self.values


class Cloud:
    """Everything that was published: (time, device, full, values)."""

    def __init__(self) -> None:
        self.got: list[tuple[float, str, bool, dict[str, object]]] = []

    def publish(self, device: str, full: bool, readings: Mapping[str, Reading], at: Instant) -> None:
        self.got.append((at.mono, device, full, {p: r.value for p, r in readings.items()}))


def reading(value: int) -> Reading:
    return Reading(value, None, None, Quality.GOOD, None, Instant(0.0, 0.0, synced=True))


def test_the_first_change_leaves_at_once_and_later_ones_every_200_ms() -> None:
    async def main() -> None:
        cloud, values = Cloud(), {"p": reading(0)}
        async with TelemetrySender(cloud.publish, virtual_time.clock(), every=300.0) as telemetry:
            telemetry.add("d", Table(values))
            telemetry.changed("d", {"p": reading(0)})
            assert cloud.got == []
            telemetry.ready("d")
            telemetry.ready("d")
            assert [(full, v) for _, _, full, v in cloud.got] == [(True, {"p": 0})]
            await asyncio.sleep(10)
            telemetry.changed("d", {"p": reading(1)})
            assert cloud.got[-1][2:] == (False, {"p": 1})
            for value in range(2, 102):
                await asyncio.sleep(0.01)
                telemetry.changed("d", {"p": reading(value)})
            await asyncio.sleep(1)
            times = [at for at, *_ in cloud.got[1:]]
            assert all(0.199 <= b - a <= 0.211 for a, b in pairwise(times))
            assert len(times) in (6, 7)
            assert cloud.got[-1][3] == {"p": 101}

    virtual_time.run(main())


def test_devices_do_not_wait_for_one_another_and_full_pictures_are_spread() -> None:
    async def main() -> None:
        cloud = Cloud()
        async with TelemetrySender(cloud.publish, virtual_time.clock(), every=100.0) as telemetry:
            for number in range(20):
                telemetry.add(f"d{number}", Table({"p": reading(1)}))
                telemetry.ready(f"d{number}")
            assert len(cloud.got) == 20
            start = cloud.got[0][0]
            await asyncio.sleep(1000)
            full = sorted(at - start for at, _, full, _ in cloud.got[20:] if full)
            assert len(full) == 200
            assert max(b - a for a, b in pairwise([0.0, *full])) <= 15.0
            for number in range(20):
                mine = [at for at, name, _, _ in cloud.got if name == f"d{number}"]
                assert all(abs(b - a - 100.0) < 0.01 for a, b in pairwise(mine[1:]))

    virtual_time.run(main())


def test_a_full_picture_takes_along_what_waits() -> None:
    async def main() -> None:
        cloud, values = Cloud(), {"p": reading(0)}
        async with TelemetrySender(cloud.publish, virtual_time.clock(), every=1.0) as telemetry:
            telemetry.add("d", Table(values))
            telemetry.ready("d")
            await asyncio.sleep(0.85)
            for value in (1, 2):
                values["p"] = reading(value)
                telemetry.changed("d", {"p": reading(value)})
            await asyncio.sleep(0.6)
            assert [(full, v["p"]) for _, _, full, v in cloud.got] == [(True, 0), (False, 1), (True, 2)]

    virtual_time.run(main())


def test_leaving_sends_what_waits_and_stops_every_timer() -> None:
    async def main() -> None:
        cloud, values = Cloud(), {"p": reading(0)}
        async with TelemetrySender(cloud.publish, virtual_time.clock(), every=1.0) as telemetry:
            telemetry.add("d", Table(values))
            telemetry.ready("d")
            telemetry.changed("d", {"p": reading(1)})
            assert len(cloud.got) == 1
        assert cloud.got[-1][2:] == (False, {"p": 1})
        await asyncio.sleep(10)
        assert len(cloud.got) == 2

    virtual_time.run(main())


def test_a_message_that_cannot_be_told_costs_neither_the_line_nor_other_messages() -> None:
    """What stands behind cannot say a number of more than 64 bits."""

    async def main() -> None:
        told: list[bytes] = []

        def publish(device: str, full: bool, readings: Mapping[str, Reading], _at: Instant) -> None:
            told.append(orjson.dumps([device, full, {point: reading.value for point, reading in readings.items()}]))

        async with TelemetrySender(publish, virtual_time.clock(), every=100.0) as telemetry:
            for device, values in (("mad", {"p": reading(2**70)}), ("well", {"p": reading(1)})):
                telemetry.add(device, Table(values))
                telemetry.ready(device)
            await asyncio.sleep(1)
            telemetry.changed("mad", {"p": reading(2**71)})
            telemetry.changed("mad", {"p": reading(7)})
            telemetry.changed("well", {"p": reading(2)})
            await asyncio.sleep(1)
        assert told == [b'["well",true,{"p":1}]', b'["well",false,{"p":2}]', b'["mad",false,{"p":7}]']
        assert telemetry.failures == 2

    virtual_time.run(main())
