from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.cloud.journal.stats import Stats, StreamStats
from gateway.cloud.mqtt.uplink import ConnectionSnapshot
from gateway.field.status import DeviceStatus, LineStatus
from gateway.local.metrics import CONTENT_TYPE, Metrics
from gateway.model import Instant, Json, Stream
from gateway.runtime import health

NOW = Instant(1000.0, 1_790_000_000.0, True)
DEVICE = DeviceStatus(True, 0, 90, 3, 0, 1, 0.01, 0.02, 0.2)
LINE = LineStatus("loop", True, "", None, 2, 0, 0.75, 4, {"a": DEVICE, "b": replace(DEVICE, answering=False)})
STATS = Stats(
    streams={stream: StreamStats(number, 0, 12.5 if number else None) for number, stream in enumerate(Stream)},
    store="ok", losses=1, commits=7, rows=70, commit_seconds=0.004, commit_seconds_max=0.25, commit_p50=0.003,
    commit_p99=0.09, queue_bytes=10, ahead_of_commit=5, shed=6, reserve=True, file_bytes=4096,
)  # fmt: skip
UPLINK = ConnectionSnapshot(True, 900.0, 3, 2, None, 0.002, 0.011, 950.0, 99, 1, 0, {"access": 0x87})


class Shown:
    """A gateway with this health, and alarms of these severities."""

    def __init__(self, health: dict[str, Json], severities: list[str]) -> None:
        self._health = health
        self.severities = severities

    def health(self) -> dict[str, Json]:
        return self._health

    def alarms(self) -> list[Mapping[str, Json]]:
        return [{"subject": "a", "severity": severity} for severity in self.severities]

    def gates(self) -> dict[str, Json]:
        return {}


def metrics(
    folder: Path, stats: Stats = STATS, uplink: ConnectionSnapshot = UPLINK, line: LineStatus = LINE
) -> Metrics:
    told = health.data({line.line: line}, stats, uplink, NOW, folder)
    return Metrics("1.2.3", Shown(told, ["critical", "low", "critical"]))


def samples(text: bytes) -> dict[tuple[str, ...], float]:
    """Values by name and labels, as Prometheus reads them."""
    return {
        (sample.name.removeprefix("site_gateway_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (("info", "1.2.3"), 1),
        (("journal_waiting", "alarm"), 0),
        (("journal_waiting", "telemetry"), 4),
        (("journal_oldest_seconds", "picture"), 12.5),
        (("journal_quarantined", "alarm"), 0),
        (("journal_commits_total",), 7),
        (("journal_rows_total",), 70),
        (("journal_commit_seconds",), 0.004),
        (("journal_commit_seconds_max",), 0.25),
        (("journal_commit_recent_seconds", "0.5"), 0.003),
        (("journal_commit_recent_seconds", "0.99"), 0.09),
        (("journal_shed_total",), 6),
        (("journal_ahead_of_commit_total",), 5),
        (("journal_ok",), 1),
        (("uplink_connected",), 1),
        (("uplink_reconnects_total",), 3),
        (("uplink_puback_seconds", "0.5"), 0.002),
        (("uplink_puback_seconds", "0.99"), 0.011),
        (("uplink_refused", "access"), 1),
        (("line_up", "loop"), 1),
        (("line_busy_ratio", "loop"), 0.75),
        (("line_overruns_total", "loop"), 4),
        (("line_requests_total", "loop"), 180),
        (("line_timeouts_total", "loop"), 6),
        (("devices_answering", "loop"), 1),
        (("devices_silent", "loop"), 1),
        (("alarms_standing", "critical"), 2),
        (("alarms_standing", "high"), 0),
        (("clock_synced",), 1),
    ],
)
def test_each_number_is_told(tmp_path: Path, key: tuple[str, ...], value: float) -> None:
    assert samples(metrics(tmp_path).text())[key] == value


def test_numbers_of_this_process(tmp_path: Path) -> None:
    told = samples(metrics(tmp_path).text())

    assert 10 << 20 < told[("resident_bytes",)] < 4 << 30
    assert told[("cpu_seconds_total",)] > 0
    assert told[("disk_free_bytes",)] > 0


def test_what_is_not_known_is_left_out(tmp_path: Path) -> None:
    told = samples(
        metrics(tmp_path, uplink=replace(UPLINK, latency_p50=None, latency_p99=None, connected=False)).text()
    )

    assert ("uplink_puback_seconds", "0.5") not in told
    assert ("journal_oldest_seconds", "alarm") not in told
    assert told[("uplink_connected",)] == 0


def test_a_line_down_and_a_lost_store(tmp_path: Path) -> None:
    down = replace(LINE, up=False, down_since=990.0, busy=0.0)
    told = samples(metrics(tmp_path, replace(STATS, store="lost"), line=down).text())

    assert (told[("line_up", "loop")], told[("journal_ok",)]) == (0, 0)


def test_no_label_grows_with_devices_and_points(tmp_path: Path) -> None:
    few = len(samples(metrics(tmp_path).text()))
    many = replace(LINE, devices={f"smoke-{number}": DEVICE for number in range(400)})

    text = metrics(tmp_path, line=many).text()

    assert len(samples(text)) == few
    assert len(text) < 16 << 10
    assert b"smoke-" not in text


def test_each_reading_is_of_the_moment(tmp_path: Path) -> None:
    shown = Shown(health.data({}, STATS, UPLINK, NOW, tmp_path), [])
    one = Metrics("1", shown)

    assert samples(one.text())[("alarms_standing", "high")] == 0
    shown.severities.append("high")
    assert samples(one.text())[("alarms_standing", "high")] == 1


def test_the_type_says_which_format() -> None:
    assert CONTENT_TYPE.startswith("text/plain; version=")
