"""The gateway's state for Prometheus: the numbers of `gateway.health`. The only importer of its library.

Labels are streams, lines, cameras and severities, never points or devices, because a site has hundreds of these.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from gateway.local.queries import Watched

CONTENT_TYPE = CONTENT_TYPE_LATEST
SEVERITIES = ("critical", "high", "medium", "low")

_PREFIX = "site_gateway_"
_JOURNAL_COUNTERS = {
    "commits": "Transactions of the journal",
    "rows": "Events written to the journal",
    "losses": "How often the store could not be written",
    "ahead_of_commit": "Events accepted before their commit, because the store was lost",
    "shed": "Events that had to go",
}
_JOURNAL_GAUGES = {
    "commit_seconds": "The last commit, fsync included",
    "commit_seconds_max": "The longest commit",
    "queue_bytes": "Bytes that are not committed yet",
    "file_bytes": "Size of the store",
}
_JOURNAL_STREAMS = {
    "waiting": "Events that the broker has not acknowledged",
    "quarantined": "Events set aside because the broker refused them",
}
_UPLINK_COUNTERS = {
    "reconnects": "Connections after the first",
    "accepted": "Messages that the broker acknowledged",
    "no_listener": "Messages acknowledged with nobody subscribed (0x10)",
    "replies_lost": "Replies that could not be kept",
}
_LINE_COUNTERS = {
    "losses": "How often the line went down",
    "overruns": "Turns skipped because the line was late",
    "driver_bugs": "Errors of the driver",
}


class Metrics(Collector):
    """The metrics of one gateway."""

    def __init__(self, version: str, watched: Watched) -> None:
        self._version = version
        self._watched = watched

    def text(self) -> bytes:
        """All present numbers in Prometheus's text format."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return generate_latest(registry)

    def describe(self) -> list[Metric]:
        """Nothing, because the set of metrics varies."""
        return []

    def collect(self) -> Iterator[Metric]:
        """One snapshot."""
        health: Mapping[str, Any] = self._watched.health()
        yield _gauge("info", "The running version", {self._version: 1}, "version")
        yield from _journal(health["journal"])
        yield from _uplink(health["uplink"])
        yield from _lines(health["lines"])
        yield from _devices(health["devices"])
        yield from _cameras(health)
        standing = [str(one["severity"]) for one in self._watched.alarms()]
        counts = {severity: standing.count(severity) for severity in SEVERITIES}
        yield _gauge("alarms_standing", "Alarms that stand", counts, "severity")
        yield _gauge("clock_synced", "The wall clock is trusted", health["clock"]["synced"])
        yield from _machine(health["machine"])


def _gauge(
    name: str, text: str, value: Mapping[str, float | None] | float | None, label: str | None = None
) -> GaugeMetricFamily:
    """A gauge, or one per value of a label; None: there is no such number now."""
    family = GaugeMetricFamily(_PREFIX + name, text, labels=[label] if label else [])
    if isinstance(value, Mapping):
        for key, one in value.items():
            if one is not None:
                family.add_metric([key], one)
    elif value is not None:
        family.add_metric([], value)
    return family


def _counter(name: str, text: str, value: Mapping[str, float] | float, label: str | None = None) -> CounterMetricFamily:
    family = CounterMetricFamily(_PREFIX + name, text, labels=[label] if label else [])
    if isinstance(value, Mapping):
        for key, one in value.items():
            family.add_metric([key], one)
    else:
        family.add_metric([], value)
    return family


def _journal(journal: Mapping[str, Any]) -> Iterator[Metric]:
    for key, text in _JOURNAL_STREAMS.items():
        yield _gauge(f"journal_{key}", text, journal[key], "stream")
    recent = {"0.5": journal["commit_p50"], "0.99": journal["commit_p99"]}
    yield _gauge("journal_commit_recent_seconds", "Commits, fsync included, over the last 512", recent, "quantile")
    yield _gauge("journal_oldest_seconds", "Age of the oldest event that waits", journal["oldest"], "stream")
    for key, text in _JOURNAL_COUNTERS.items():
        yield _counter(f"journal_{key}", text, journal[key])
    for key, text in _JOURNAL_GAUGES.items():
        yield _gauge(f"journal_{key}", text, journal[key])
    yield _gauge("journal_ok", "The store can be written", journal["store"] != "lost")


def _uplink(uplink: Mapping[str, Any]) -> Iterator[Metric]:
    yield _gauge("uplink_connected", "The broker has accepted us", uplink["connected"])
    yield _gauge("uplink_in_flight", "Messages sent and not acknowledged", uplink["in_flight"])
    for key, text in _UPLINK_COUNTERS.items():
        yield _counter(f"uplink_{key}", text, uplink[key])
    latency = {"0.5": uplink["latency_p50"], "0.99": uplink["latency_p99"]}
    yield _gauge("uplink_puback_seconds", "Publish to PUBACK, over the last 512", latency, "quantile")
    refused = dict.fromkeys(uplink["refused"], 1.0)
    yield _gauge("uplink_refused", "Streams that the broker refuses", refused, "stream")


def _lines(lines: Mapping[str, Mapping[str, Any]]) -> Iterator[Metric]:
    yield _gauge("line_up", "Something on the line answers", {name: line["up"] for name, line in lines.items()}, "line")
    busy = {name: line["busy"] for name, line in lines.items()}
    yield _gauge("line_busy_ratio", "Share of the last seconds with a request under way", busy, "line")
    for key, text in _LINE_COUNTERS.items():
        yield _counter(f"line_{key}", text, {name: line[key] for name, line in lines.items()}, "line")


def _devices(devices: Mapping[str, Mapping[str, Any]]) -> Iterator[Metric]:
    answering = dict.fromkeys((device["line"] for device in devices.values()), 0)
    silent = dict(answering)
    for device in devices.values():
        answering[device["line"]] += device["answering"] is True
        silent[device["line"]] += device["answering"] is False
    yield _gauge("devices_answering", "Devices that answer", answering, "line")
    yield _gauge("devices_silent", "Devices found silent", silent, "line")
    for key, text in (("requests", "Requests to devices"), ("timeouts", "Requests without an answer")):
        sums = dict.fromkeys(answering, 0)
        for device in devices.values():
            sums[device["line"]] += device[key]
        yield _counter(f"line_{key}", text, sums, "line")


_ENDS = {"passage_pushes": "passage", "heartbeats": "heartbeat", "ignored": "ignored", "unreadable": "unreadable",
         "refused": "refused"}  # fmt: skip


def _cameras(health: Mapping[str, Any]) -> Iterator[Metric]:
    """Results of the pushes of each camera, and requests that belong to no camera."""
    cameras = health.get("cameras")
    if not cameras:
        return
    family = CounterMetricFamily(_PREFIX + "camera_pushes", "Pushes by what became of them", labels=["camera", "end"])
    for name, told in cameras.items():
        for key, end in _ENDS.items():
            family.add_metric([name, end], told.get(key, 0))
    yield family
    passages = {name: told.get("passages", 0) for name, told in cameras.items()}
    yield _counter("camera_passages", "Cars that cameras told of", passages, "camera")
    yield _counter("camera_strangers", "Requests that belong to no camera", health.get("strangers") or {}, "reason")


def _machine(machine: Mapping[str, Any]) -> Iterator[Metric]:
    yield _gauge("resident_bytes", "Resident memory of the process", machine["resident"])
    yield _counter("cpu_seconds", "User and system time of the process", machine["cpu_seconds"])
    yield _gauge("disk_free_bytes", "Free space where the store is", machine["disk_free"])
