"""One parser for each maker. Pure."""

from collections.abc import Mapping
from typing import Protocol

from drivers.anpr import dahua, gat1400, generic, hikvision, platerecognizer, uniview, vzenith
from drivers.anpr.capture import CameraSettings, PushReply, Report, Unreadable
from drivers.anpr.jsontree import in_utf8

MAX_BYTES = 64 << 20
"""The largest payload for parsers; the listener's own limit is lower."""


class Parse(Protocol):
    """Payload, content type, path and the camera's settings -> its report. Raises only Unreadable."""

    def __call__(self, payload: bytes, content_type: str, path: str, settings: CameraSettings, /) -> Report:
        """Parse a push."""
        ...


PARSERS: Mapping[str, Parse] = {
    "hikvision": hikvision.parse,
    "dahua": dahua.parse,
    "vzenith": vzenith.parse,
    "uniview": uniview.parse,
    "platerecognizer": platerecognizer.parse,
    "gat1400": gat1400.parse,
    "generic": generic.parse,
}
"""By the `driver` of the site file."""

FIXED_PATHS: Mapping[str, tuple[str, ...]] = {
    "dahua": ("/notificationinfo/", "/cgi-bin/notifyevent", "/eventhttpupload", "/picturehttpupload"),
    "gat1400": ("/viid/",),
    "uniview": ("/lapi/",),
    "vzenith": ("/devicemanagement/php/", "/cgi-bin/plateresult.cgi", "/cgi-bin/receivedeviceinfo.cgi"),
}
"""Paths that a maker's firmware cannot change; the camera is identified by its address. In lower case."""


def parse(driver: str, payload: bytes, content_type: str, path: str, settings: CameraSettings) -> Report:
    """Parse a push. Raises Unreadable."""
    if len(payload) > MAX_BYTES:
        raise Unreadable("payload too large")
    return PARSERS[driver](in_utf8(payload), content_type[:1024], path[:1024], settings)


def accepted(driver: str, path: str) -> PushReply:
    """The answer that stops this maker's camera from repeating, also used for unreadable pushes."""
    match driver:
        case "dahua":
            return dahua.ACCEPTED
        case "vzenith":
            return vzenith.ACCEPTED
        case "uniview":
            return uniview.accepted(path)
        case "gat1400":
            return gat1400.accepted(path)
        case "generic":
            return generic.ACCEPTED
        case _:
            return hikvision.ACCEPTED
