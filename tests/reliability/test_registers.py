"""Whatever a register holds, the process goes on, and so does the telemetry of all other points."""

from pathlib import Path

from simulators.cloud import Event
from tests.reliability.compound import world

DEVICE = """\
  meter:
    line: loop
    unit: 3
    points:
      energy: {at: holding 20, type: uint64, scale: 10, every: 50ms}
      power: {at: holding 24, type: float64, scale: 1000, every: 50ms}
      count: {at: holding 30, type: uint16, every: 50ms, alarms: {many: {kind: water, above: 50}}}
"""
ALL_ONES = 0xFFFF


def reading(event: Event, point: str) -> tuple[object, str, object]:
    """What a full picture says of it."""
    told = event["data"]["readings"][point]
    return told["value"], told["quality"], told["reason"]


async def test_a_number_beyond_64_bits_ends_neither_the_process_nor_the_telemetry(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        text = it.site.read_text().replace("store:", f"{DEVICE}store:")
        it.site.write_text(text)
        for address in range(20, 24):
            it.served.set(address, ALL_ONES)
        for address, word in enumerate((0x7FEF, ALL_ONES, ALL_ONES, ALL_ONES), 24):
            it.served.set(address, word)  # the largest number of 64 bits, times 1000
        async with it.running() as process:
            await it.cloud.until(lambda seen: bool(seen.of("telemetry.readings", "meter")))
            full = it.cloud.of("telemetry.readings", "meter")[0]
            assert reading(full, "energy") == (None, "BAD", "out-of-range")
            assert reading(full, "power") == (None, "BAD", "out-of-range")
            it.served.set(23, 7)
            for address in range(20, 23):
                it.served.set(address, 0)
            it.served.set(30, 60)
            await it.until_told("alarm.raised", "meter/count/many")
            await it.cloud.until(
                lambda seen: (
                    seen.of("telemetry.readings", "meter")[-1]["data"]["readings"].get("energy", {}).get("value") == 70
                )
            )
            assert process.running
        assert len(it.cloud.of("gateway.started")) == 1
