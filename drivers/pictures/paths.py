"""The makers' paths of the present picture. Pure.

`{channel}` counts from 1. The first path that a camera knows is used from then on.
"""

from collections.abc import Mapping

RECORDER = "/ISAPI/ContentMgmt/StreamingProxy/"
"""Where a Hikvision recorder provides its cameras' pictures; it answers 400 or 403 for the cameras' own paths."""

SNAPSHOTS: Mapping[str, tuple[str, ...]] = {
    "hikvision": (
        "/ISAPI/Streaming/channels/{channel}01/picture",
        RECORDER + "channels/{channel}01/picture",
        "/ISAPI/Streaming/channels/{channel}/picture",
        "/Streaming/channels/{channel}/picture",
    ),
    "dahua": ("/cgi-bin/snapshot.cgi?channel={channel}&type=0", "/cgi-bin/snapshot.cgi?channel={channel}"),
    "uniview": ("/images/snapshot.jpg",),
    "onvif": ("/onvif/snapshot", "/onvif-http/snapshot?Profile_1"),
}
"""By the `driver` of the site file; other cameras need a `snapshot`."""


def targets(driver: str, snapshot: str | None, channel: int = 1) -> tuple[str, ...]:
    """The targets in order of trying; empty: none is known."""
    if snapshot is not None:
        return (snapshot,)
    return tuple(path.format(channel=channel) for path in SNAPSHOTS.get(driver, ()))
