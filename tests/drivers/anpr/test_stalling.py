"""The largest body that is taken, made to cost as much as it can: no maker's parser holds the loop for long."""

from functools import partial

import pytest

from drivers.anpr.capture import CameraSettings, Report, Unreadable
from drivers.anpr.listener import MAX_BODY_BYTES
from drivers.anpr.makers import PARSERS, parse
from tests.cost import least

LONGEST = 1.0
"""Seconds of CPU; the usual is a twentieth of it."""
HALF = b'"\\' * 30_000

BODIES = {
    "texts that never end": (b"{" * 40 + b'"\\' * (MAX_BODY_BYTES // 2 - 20), "application/json"),
    "few texts that never end": (b"{" * 40 + HALF + b"x" * (MAX_BODY_BYTES - 40 - len(HALF)), "application/json"),
    "empty texts": (b'{"a":' + b"[" * 40 + b'"' * (MAX_BODY_BYTES - 45), "application/json"),
    "a long number": (b'{"confidence":' + b"9" * (MAX_BODY_BYTES - 15) + b"}", "application/json"),
    "no UTF-8": (b'{"plate":"' + b"\xff" * (MAX_BODY_BYTES - 12) + b'"}', "application/json"),
    "a first line of blanks": (b"--" + b" " * (MAX_BODY_BYTES - 2), "multipart/form-data"),
    "many first lines": ((b"\n--" + b"\t" * 1000) * (MAX_BODY_BYTES // 1003), "multipart/form-data"),
    "lines of blanks": (b"--b\r\n" + (b"\n" + b" " * 100_000) * 41, "multipart/form-data; boundary=b"),
    "nearly a boundary": (b"--bbbb\r\n\r\n" + b"\r\n--bbb" * 590_000, "multipart/form-data; boundary=bbbb"),
    "elements": (b"<EventNotificationAlert>" + b"<a/>" * 1_000_000, "application/xml"),
    "attributes": (b"<a " + b" ".join(b"a%d=''" % n for n in range(330_000)) + b"/>", "application/xml"),
    "ampersands": (b"<a>" + b"&" * (MAX_BODY_BYTES - 3), "application/xml"),
    "fields": (b"json=" + b"&a=" * 1_390_000, "application/x-www-form-urlencoded"),
}


def read(driver: str, body: bytes, content_type: str) -> Report | None:
    try:
        return parse(driver, body, content_type, "/x", CameraSettings(28_800.0))
    except Unreadable:
        return None


@pytest.mark.parametrize("what", BODIES)
@pytest.mark.parametrize("driver", PARSERS)
@pytest.mark.timeout(30)
def test_no_body_takes_long(driver: str, what: str) -> None:
    body, content_type = BODIES[what]
    report = read(driver, body, content_type)
    assert least(partial(read, driver, body, content_type)) < LONGEST
    assert report is None or all(one.plate_raw is None or len(one.plate_raw) <= 64 for one in report.captures)
