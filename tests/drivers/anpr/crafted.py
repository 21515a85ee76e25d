"""Bodies at the limit of their size that cost as much to read as can be: (driver, body, content type)."""

import base64
import json
from collections.abc import Mapping

MOST = 4 << 20
XML = 1 << 20
"""The largest XML that is looked at."""
_FORM = "multipart/form-data; boundary=a"
_NOISE = bytes(range(256)) * 4096


def fill(head: bytes, one: bytes, tail: bytes, size: int = MOST) -> bytes:
    """As many of `one` as fit between head and tail."""
    return head + one * ((size - len(head) - len(tail)) // len(one)) + tail


_PICTURE = base64.b64encode(b"\xff\xd8\xff" + _NOISE * 2)
CRAFTED: Mapping[str, tuple[str, bytes, str]] = {
    "multipart: near boundaries": ("hikvision", fill(b"--a\r\n\r\n", b"\n--ax", b"\r\n--a--"), _FORM),
    "multipart: boundaries": ("hikvision", fill(b"--a\r\n", b"\r\n--a\r\n", b"--a--"), _FORM),
    "multipart: boundaries behind braces": ("dahua", fill(b"--a\r\n\r\n", b"}--a", b"\r\n--a--"), _FORM),
    "multipart: blanks": ("uniview", fill(b"--a\r\nX:", b"\r\n \t", b"\r\n--a--"), _FORM),
    "multipart: lines of blanks": ("generic", fill(b"--a\r\n\r\n", b"\n--a" + b" " * 60, b"\r\n--a--"), _FORM),
    "multipart: dashes": ("hikvision", b"-" * MOST, "multipart/form-data"),
    "XML: elements": ("hikvision", fill(b"<a>", b"<b/>", b"</a>", XML), "text/xml"),
    "XML: entities": ("hikvision", fill(b"<a>", b"&amp;", b"</a>", XML), "text/xml"),
    "XML: loose ampersands": ("hikvision", fill(b"<a>", b"& ", b"</a>", XML), "text/xml"),
    "XML: attributes": ("hikvision", b"<a " + b" ".join(b'a%d=""' % n for n in range(80_000)) + b"/>", "text/xml"),
    "XML: text": ("hikvision", fill(b"<a>", b"x", b"</a>", XML), "text/xml"),
    "XML: control characters": ("hikvision", fill(b"<a>", b"\x01", b"</a>", XML), "text/xml"),
    "JSON: a text": ("generic", fill(b'{"plate":"', b"A", b'"}'), "application/json"),
    "JSON: a picture": ("generic", b'{"plate":"x","scene_picture":"' + _PICTURE + b'"}', "application/json"),
    "JSON: escapes": ("generic", fill(b'{"plate":"', b"\\u00e9", b'"}'), "application/json"),
    "JSON: quotes": ("generic", fill(b"[", b'"', b"]"), "application/json"),
    "JSON: members": ("generic", b"[" + b",".join([b'{"plate":1}'] * 9000) + b"]", "application/json"),
    "JSON: digits": ("generic", fill(b"[", b"1", b"]"), "application/json"),
    "JSON: backslashes": ("dahua", fill(b'{"a":"', b"\\\\", b'"}'), "application/json"),
    "JSON: deep": ("uniview", b"[" * MOST, "application/json"),
    "JSON: GBK that ends badly": ("gat1400", fill(b'{"a":"', b"\xb0\xa1", b'\xff\xff"}'), "application/json"),
    "JSON: lists in texts": ("gat1400", json.dumps({"MotorVehicleObject": [
        {"PlateNo": "x", "SubImageList": "{" + "\\" * 10} for _ in range(3000)]}).encode(), "application/json"),
    "JSON: pictures by index": ("uniview", json.dumps({"StructureInfo": {"ImageInfoList": [
        {"Index": n} for n in range(6000)]}}).encode(), "application/json"),
    "form: escapes": ("generic", fill(b"a=", b"%41", b""), "application/x-www-form-urlencoded"),
    "form: as many escapes as may be": ("generic", fill(b"a=", b"%41", b"", 150_000) + b"x" * XML, ""),
    "form: fields": ("generic", fill(b"a=", b"&a=", b""), "application/x-www-form-urlencoded"),
    "form: of a heart-beat": ("vzenith", fill(b"serialno=", b"&a=", b""), ""),
    "lines: events": ("dahua", fill(b"Events[0].A=1\n", b"Events[0].A[1].B[2].C=1\n", b""), "text/plain"),
    "lines: empty": ("dahua", fill(b"Events[0].A=1", b"\n", b"x"), "text/plain"),
    "lines: one": ("dahua", fill(b"Code=a;action=b;index=", b";", b""), "text/plain"),
    "zeros": ("hikvision", bytes(MOST), ""),
}  # fmt: skip
