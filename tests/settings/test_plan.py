"""`plan`, and what `check` and `run` make of it."""

from pathlib import Path

import orjson
import pytest

from gateway.config.load import load
from gateway.settings.plan import cure, findings, plan_lines
from tests.technician.command import site_gateway
from tests.technician.yard import HEAD

ROOT = Path(__file__).parents[2]


def detectors(count: int, *, baudrate: int = 4800, every: str = "1s", timeout: str = "300ms") -> str:
    """A bus with that many smoke detectors."""
    lines = [f"lines: {{loop: {{driver: modbus, serial: /dev/rs485-loop, baudrate: {baudrate}}}}}", "devices:"]
    lines += [
        f"  smoke-{unit}:\n    profile: jdrk-rs-yg-n01\n    line: loop\n    unit: {unit}\n"
        f"    limits: {{timeout: {timeout}}}\n    points: {{smoke: {{every: {every}}}}}"
        for unit in range(1, count + 1)
    ]
    return HEAD + "\n".join(lines) + "\n"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return tmp_path / "site.yaml"


async def test_json_has_the_promised_shape() -> None:
    ended = await site_gateway("plan", ROOT / "config/example.yaml", "--json")

    assert ended.status == 0
    told = orjson.loads(ended.out)
    assert set(told) == {"lines", "alarms"}
    assert [line["line"] for line in told["lines"]] == ["fire-loop", "gate-io", "dtu-7"]
    assert {frozenset(line) for line in told["lines"]} == {frozenset({"line", "utilisation", "requests_per_s"})}
    assert {frozenset(alarm) for alarm in told["alarms"]} == {frozenset({"point", "worst_ms", "worst_one_dead_ms"})}
    worst = {alarm["point"]: alarm for alarm in told["alarms"]}
    assert 1000 < worst["smoke-3-2f.smoke"]["worst_ms"] < worst["smoke-3-2f.smoke"]["worst_one_dead_ms"] < 10_000
    assert "relay-north.di1" not in worst


async def test_the_table_names_lines_points_and_what_is_assumed() -> None:
    ended = await site_gateway("plan", ROOT / "config/example.yaml", "--latency", "10ms")

    assert ended.status == 0
    assert {"fire-loop", "hydrant-1.pressure", "utilisation"} <= set(ended.out.split())
    assert "50 ms for this machine" in ended.out
    assert "within 10 ms" in ended.out


async def test_quicker_devices_make_a_shorter_worst_case(site: Path) -> None:
    site.write_text(detectors(8))

    slow, quick = [
        orjson.loads((await site_gateway("plan", site, "--json", "--latency", latency)).out)
        for latency in ("50ms", "5ms")
    ]

    assert quick["alarms"][0]["worst_ms"] < slow["alarms"][0]["worst_ms"]
    assert quick["lines"][0]["utilisation"] < slow["lines"][0]["utilisation"]


async def test_a_wrong_latency_is_a_wrong_command_line() -> None:
    assert (await site_gateway("plan", ROOT / "config/example.yaml", "--latency", "5")).status == 64


def test_a_line_that_is_asked_for_too_much_is_a_warning_with_its_cure(site: Path) -> None:
    site.write_text(detectors(32, every="2s"))
    loaded = load(site)
    assert loaded.site is not None

    found = list(findings(loaded.site))

    assert [(one.level, one.path) for one in found] == [("warning", ("lines", "loop"))]
    assert "at 4800 baud one round of 32 devices needs" in found[0].text
    assert "(1.47 s on the wire); " in found[0].text
    judged = loaded.with_findings(found)
    assert judged.site is not None
    assert [(one.line, one.col) for one in judged.problems if one.key == "lines.loop"] == [(5, 9)]


def test_the_proposed_baud_rate_is_enough(site: Path) -> None:
    site.write_text(detectors(32, every="3s"))
    slow = load(site).site
    assert slow is not None
    text = cure(slow, plan_lines(slow)[0])
    rate = int(text.split(" gives ")[0].rsplit("; ", 1)[1])

    site.write_text(detectors(32, every="3s", baudrate=rate))
    quick = load(site).site

    assert quick is not None
    assert list(findings(quick)) == []


async def test_a_fire_that_would_be_told_too_late_is_refused_by_check_and_run(site: Path) -> None:
    site.write_text(detectors(60, baudrate=2400, every="10s", timeout="3s"))

    checked = await site_gateway("check", site)
    ran = await site_gateway("run", site)
    planned = await site_gateway("plan", site, "--json")

    errors = [line for line in checked.out.splitlines() if ": warning: " not in line][:-1]
    assert checked.status == ran.status == planned.status == 1
    assert len(errors) == 60
    assert errors[0].startswith(f"{site}:7:3: devices.smoke-1: smoke: the alarm of kind fire would be told after ")
    assert "10 s at most; at 2400 baud one round of 60 devices needs " in errors[0]
    assert "devices.smoke-60: smoke: the alarm" in planned.err
    assert len(orjson.loads(planned.out)["alarms"]) == 60


async def test_the_delay_of_an_alarm_counts(site: Path) -> None:
    site.write_text(detectors(2).replace("every: 1s}", "every: 1s, alarms: {fire: {for: 9s}}}"))

    checked = await site_gateway("check", site)

    assert checked.status == 1
    assert "devices.smoke-1: smoke: the alarm of kind fire would be told after" in checked.out


def test_the_silence_of_a_device_that_would_be_told_too_late_is_an_error(site: Path) -> None:
    site.write_text(detectors(30, baudrate=1200, every="10s", timeout="60s"))
    loaded = load(site)
    assert loaded.site is not None

    texts = [one.text for one in findings(loaded.site) if one.path == ("devices", "smoke-7")]

    assert any(text.startswith("its silence would be told after ") and "100 s at most" in text for text in texts)


def test_the_shipped_examples_can_be_kept() -> None:
    for name in ("example.yaml", "minimal.yaml"):
        site = load(ROOT / "config" / name).site
        assert site is not None
        assert list(findings(site)) == []
