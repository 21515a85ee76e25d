"""What is shipped for Prometheus and Grafana names only numbers that a gateway tells."""

import asyncio
import json
import re
import subprocess
from pathlib import Path

import aiohttp
import yaml

from gateway.model import Stream
from tests.end_to_end.browsing import listening
from tests.end_to_end.process import running
from tests.local.test_http_wired import SITE
from tests.mosquitto import free_port

ROOT = Path(__file__).parents[2]
RULES = ROOT / "docs/prometheus/site-rules.yml"
DASHBOARD = ROOT / "docs/grafana/site.json"
WITH_CAMERAS = {"site_gateway_camera_passages_total"}


async def told(tmp_path: Path) -> set[str]:
    """The names of all numbers of a running gateway."""
    port = free_port()
    site = tmp_path / "site.yaml"
    more = f"http: {{status: {{listen: '127.0.0.1:{port}'}}}}"
    site.write_text(SITE.format(broker=1, modbus=1, store=tmp_path / "store", more=more))
    async with running(site):
        await listening(f"http://127.0.0.1:{port}")
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as response:
            text = await response.text()
    families = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    return families | set(re.findall(r"^([a-z_]+)[{ ]", text, re.MULTILINE))


def named(expressions: list[str]) -> set[str]:
    return {name for expression in expressions for name in re.findall(r"site_gateway_\w+", expression)}


def test_rules_and_dashboard_name_what_there_is(tmp_path: Path) -> None:
    rules = [rule["expr"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    dashboard = json.loads(DASHBOARD.read_text())
    shown = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    there = asyncio.run(told(tmp_path))

    assert len(named(rules)) >= 12
    assert len(named(shown)) >= 14
    assert named(rules + shown) - there - WITH_CAMERAS == set()


def test_whichever_events_wait_somebody_is_told() -> None:
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    (waits,) = [rule["expr"] for rule in rules if rule["alert"] == "EventsWait"]
    (streams,) = re.findall(r'stream=~"([^"]+)"', waits)

    assert {*streams.split("|")} == {*Stream} - {Stream.TELEMETRY, Stream.PICTURE}


def test_promtool_takes_the_rules() -> None:
    done = subprocess.run(
        ["promtool", "check", "rules", str(RULES)], capture_output=True, text=True, check=False, timeout=60
    )

    assert done.returncode == 0, done.stderr
