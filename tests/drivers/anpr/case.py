"""Golden cases: a payload as a camera sends it, what it came with, and what it says."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drivers.anpr import dahua, hikvision
from drivers.anpr.capture import CameraSettings, Capture, Report
from drivers.anpr.makers import parse
from drivers.anpr.multipart import boundary_of
from drivers.anpr.stream import PartStream

CASES = Path(__file__).parent / "cases"
PARTS = {"hikvision": hikvision.part, "dahua": dahua.part}


@dataclass
class Case:
    name: str
    driver: str
    payload: bytes
    content_type: str = ""
    path: str = "/cameras/c1"
    utc_offset: float | None = None
    stream: bool = False
    expected: Any = None

    @property
    def settings(self) -> CameraSettings:
        return CameraSettings(self.utc_offset)

    def reports(self) -> list[Report]:
        if not self.stream:
            return [parse(self.driver, self.payload, self.content_type, self.path, self.settings)]
        read = PARTS[self.driver]
        parts = PartStream(boundary_of(self.content_type)).feed(self.payload)
        return [read(part, self.settings) for part in parts]


def load(path: Path) -> list[Case]:
    """The cases of one description; a payload of lines is a case for each."""
    told = json.loads(path.read_text())
    payload = (path.parent / told["payload"]).read_bytes()
    content_type = told.get("content_type", "")
    if told["payload"].endswith(".http") or told.get("stream"):
        cut = payload.find(b"\r\n\r\n") + 4 if b"\r\n\r\n" in payload else payload.find(b"\n\n") + 2
        head, payload = payload[:cut].decode(), payload[cut:]
        headers = dict(line.split(": ", 1) for line in head.splitlines()[1:] if ": " in line)
        content_type = headers.get("Content-Type", content_type)
    payloads = payload.splitlines() if told["payload"].endswith(".jsonl") else [payload]
    expected = told["expected"] if len(payloads) > 1 else [told["expected"]]
    return [
        Case(
            path.stem if len(payloads) == 1 else f"{path.stem}-{place}",
            told["driver"],
            one,
            content_type,
            told.get("path", "/cameras/c1"),
            told.get("utc_offset"),
            told.get("stream", False),
            wanted,
        )
        for place, (one, wanted) in enumerate(zip(payloads, expected, strict=True))
    ]


def all_cases() -> list[Case]:
    return [case for path in sorted(CASES.glob("*.case")) for case in load(path)]


def told(report: Report) -> dict[str, Any]:
    """A report as JSON; what is empty is left out, pictures are counted in bytes."""
    found: dict[str, Any] = {"kind": report.kind}
    if report.reply.body:
        found["reply"] = json.loads(report.reply.body)
    if report.captures:
        found["captures"] = [capture(one) for one in report.captures]
    if report.pictures:
        found["pictures"] = [[one.role, one.content_type, len(one.data)] for one in report.pictures]
    for name in ("refused", "device"):
        if getattr(report, name):
            found[name] = getattr(report, name)
    if report.events:
        found["events"] = list(report.events)
    return found


def capture(one: Capture) -> dict[str, Any]:
    found: dict[str, Any] = {"plate": one.plate_raw}
    for name in ("confidence", "colour", "kind", "turn", "turn_raw", "history", "trigger", "lane", "url"):
        value = getattr(one, name)
        if value is not None and value is not False:
            found[name] = value
    if one.seen is not None:
        found["seen"] = [round(one.seen.wall, 3), one.seen.zone, one.seen.firm]
    if not one.key:
        found["no_key"] = True
    if one.pictures:
        found["pictures"] = [[shown.role, shown.content_type, len(shown.data)] for shown in one.pictures]
    return found
