import json
import os
import time
from concurrent.futures import ProcessPoolExecutor
from math import isfinite

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.anpr.capture import CameraSettings, Report, Unreadable
from drivers.anpr.makers import PARSERS, parse
from drivers.anpr.multipart import parts
from drivers.anpr.stream import PartStream
from tests.drivers.anpr.case import all_cases
from tests.drivers.anpr.mutate import peak, read, spoil

CASES = all_cases()
EACH = 4_000
SOAK = 1_000_000
SLOWEST = 1.0
"""Seconds of CPU for one payload of 20 kB: two orders of magnitude above the usual."""


def is_sound(report: Report) -> None:
    """Whatever came in, what goes out can be written down."""
    for one in report.captures:
        for text in (one.plate_raw, one.turn_raw, one.trigger, one.lane, one.url, report.device):
            assert text is None or (text.encode() and text.isprintable() and len(text) <= 256)
        assert one.confidence is None or 0 <= one.confidence <= 255
        assert one.seen is None or (isfinite(one.seen.wall) and one.seen.wall > 0)
        assert len(one.pictures) <= 3
    assert len(report.captures) <= 256
    assert len(report.names) <= 12
    if report.reply.body:
        json.loads(report.reply.body)


def run(first: int, count: int) -> float:
    """So many spoilt payloads; the CPU seconds of the slowest."""
    slowest = 0.0
    for number in range(first, first + count):
        one = spoil(CASES, number)
        begun = time.process_time()
        reports = read(one)
        slowest = max(slowest, time.process_time() - begun)
        for report in reports:
            is_sound(report)
    return slowest


def test_spoilt_payloads() -> None:
    assert run(0, EACH) < SLOWEST


def test_spoilt_payloads_take_little_memory() -> None:
    assert max(peak(spoil(CASES, number)) for number in range(300)) < 4 << 20


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_a_million_spoilt_payloads() -> None:
    begun = time.monotonic()
    step = 20_000
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        slowest = max(pool.map(run, range(EACH, EACH + SOAK, step), [step] * (SOAK // step)))
    print(f"{SOAK} payloads in {time.monotonic() - begun:.0f} s, the slowest took {slowest * 1000:.1f} ms")  # noqa: T201 - a measurement
    assert slowest < SLOWEST


KEYS = (
    "Picture", "Plate", "PlateNumber", "SnapInfo", "TrafficCar", "Object",
    "AlarmInfoPlate", "result", "PlateResult", "license", "timeStamp", "Timeval",
    "sec", "StructureInfo", "ObjInfo", "VehicleInfoList", "PlateAttributeInfo", "PlateNo",
    "ImageInfoList", "Index", "MotorVehicleObject", "SubImageList", "SubImageInfoObject", "Type",
    "Data", "data", "results", "plate", "props", "direction",
    "orientation", "time", "passages", "confidence", "ANPR", "UTC",
    "payload", "EventNotificationAlert", "licensePlate",
)  # fmt: skip
leaves = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(["1", "B-1", "=="])
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(st.sampled_from(sorted(PARSERS)), values)
@settings(max_examples=400, deadline=None)
def test_every_shape_of_json(driver: str, value: object) -> None:
    try:
        is_sound(parse(driver, json.dumps(value).encode(), "application/json", "/x", CameraSettings(0.0)))
    except Unreadable:
        return


@given(
    st.binary(max_size=300), st.sampled_from(["", "multipart/form-data; boundary=b", "multipart/mixed; boundary=--b"])
)
@settings(max_examples=300, deadline=None)
def test_any_bytes(payload: bytes, content_type: str) -> None:
    for driver in PARSERS:
        for body in (
            payload,
            b"--b\r\n" + payload + b"\r\n--b--",
            b"<a>" + payload + b"</a>",
            b'{"a":' + payload + b"}",
        ):
            try:
                is_sound(parse(driver, body, content_type, "/x", CameraSettings()))
            except Unreadable:
                continue


pieces = st.lists(
    st.tuples(
        st.binary(min_size=1, max_size=60).filter(
            lambda body: (
                b"bnd" not in body and not body.endswith(b"\r")
            )  # CR and LF may be the line end of the delimiter
        ),
        st.booleans(),
    ),
    min_size=1,
    max_size=5,
)


@given(pieces, st.integers(1, 40), st.sampled_from([b"\r\n", b"\n"]))
def test_parts_come_out_as_they_went_in(bodies: list[tuple[bytes, bool]], step: int, eol: bytes) -> None:
    body = b""
    for content, is_told in bodies:
        told = b"Content-Length: %d" % len(content) + eol if is_told else b""
        body += b"--bnd" + eol + b"Content-Type: image/jpeg" + eol + told + eol + content + eol
    body += b"--bnd--" + eol
    found = [part.body for part in parts(body, "multipart/mixed; boundary=bnd")]
    assert found == [content for content, _ in bodies]
    stream = PartStream(b"bnd")
    cut = [part.body for at in range(0, len(body), step) for part in stream.feed(body[at : at + step])]
    assert [one.rstrip() for one in cut] == [content.rstrip() for content, _ in bodies]
