"""The listener of a real gateway: there only if the site file asks for it, and then with true numbers."""

import asyncio
from pathlib import Path

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tests.end_to_end.process import running
from tests.foreign.tcp_server import foreign_tcp
from tests.mosquitto import free_port, mosquitto

SITE = """\
version: 1
site: {{id: xima-xincun}}
gateway: xmxc-01
uplink: {{url: "mqtt://127.0.0.1:{broker}"}}
lines: {{loop: {{driver: modbus, tcp: "127.0.0.1:{modbus}"}}}}
devices:
  tank:
    line: loop
    points: {{level: {{at: holding 0, every: 100ms, alarms: {{water: {{below: 10}}}}}}}}
store: {{path: {store}, max_size: 64MiB, alarm_reserve: 1MiB}}
{more}
"""


def loaded(pid: int) -> str:
    """The shared objects and files that a process has mapped."""
    return Path(f"/proc/{pid}/maps").read_text()


async def scrape(port: int) -> dict[str, float]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as response:
        assert response.status == 200
        families = text_string_to_metric_families(await response.text())
        return {
            ".".join((sample.name.removeprefix("site_gateway_"), *sample.labels.values())): sample.value
            for family in families
            for sample in family.samples
        }


async def test_numbers_of_a_gateway_at_work(tmp_path: Path) -> None:
    port = free_port()
    async with mosquitto(tmp_path) as broker, foreign_tcp() as server:
        site = tmp_path / "site.yaml"
        more = f"http: {{status: {{listen: '127.0.0.1:{port}'}}}}"
        text = SITE.format(broker=broker.port, modbus=server.port, store=tmp_path / "store", more=more)
        site.write_text(text)
        async with running(site) as gateway:
            told: dict[str, float] = {}
            async with asyncio.timeout(15):
                while not (told.get("uplink_connected") and told.get("uplink_puback_seconds.0.99")):
                    await asyncio.sleep(0.05)
                    try:
                        told = await scrape(port)
                    except aiohttp.ClientConnectionError:
                        continue
                while told["alarms_standing.high"] != 1 or told["journal_waiting.alarm"]:
                    told = await scrape(port)
            assert "aiohttp" in loaded(gateway.pid)
            assert told["line_up.loop"] == 1
            assert told["devices_answering.loop"] == 1
            assert told["journal_commits_total"] > 0
            assert told["uplink_puback_seconds.0.99"] < 1.0
            assert told["resident_bytes"] > 10 << 20
            async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/healthz") as answer:
                assert (answer.status, await answer.text()) == (200, "alive\n")
            status, seconds = await gateway.stop()
        assert (status, seconds < 2.0) == (0, True)


async def test_without_it_nothing_is_loaded(tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text(SITE.format(broker=1, modbus=1, store=tmp_path / "store", more=""))
    async with running(site) as gateway:
        assert "aiohttp" not in loaded(gateway.pid)
