"""One parser for each maker. Pure."""

from collections.abc import Mapping
from typing import Protocol

from drivers.anpr import dahua, gat1400, generic, hikvision, platerecognizer, uniview, vzenith
from drivers.anpr.capture import CameraSettings, PushReply, Report, Unreadable
from drivers.anpr.jsontree import in_utf8

MAX_BYTES = 64 << 20
"""No parser looks at more; the listener's own limit is lower."""


class Parse(Protocol):
    """Payload, content type, path and settings of the camera -> what it says. Raises Unreadable, nothing else."""

    def __call__(self, payload: bytes, content_type: str, path: str, settings: CameraSettings, /) -> Report:
        """What a push says."""
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
"""Where a maker's firmware cannot be told another path; the camera is known by its address. In small letters."""


def parse(driver: str, payload: bytes, content_type: str, path: str, settings: CameraSettings) -> Report:
    """What a push says. Raises Unreadable."""
    if len(payload) > MAX_BYTES:
        raise Unreadable("payload too large")
    return PARSERS[driver](in_utf8(payload), content_type[:1024], path[:1024], settings)


def accepted(driver: str, path: str) -> PushReply:
    """The answer that keeps this maker's camera from sending again, for what could not be read too."""
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
