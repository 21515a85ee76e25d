"""Dahua: ITSAPI pushes, parts of snapManager and eventManager.

ITSAPI sends the same event until it hears `{"Result": true}`, and has no mark for what is old.
"""

import base64
import json
from collections.abc import Iterable
from typing import ClassVar, Final

from simulators.cameras.maker import JSON, Maker, parsed
from simulators.cameras.model import CarSight, Post

BOUNDARY: Final = "myboundary"
_COLOURS: Final = {"yellow-green": "YellowGreen", None: "Unknown"}
_KINDS: Final = {"police": "Police", "wj": "ArmedPolice", "military": "Military", "emergency": "Emergency",
                 "new-energy": "NewEnergy", "learner": "Coach", "trailer": "Trailer"}  # fmt: skip
_ZONES: Final = {hours: place for place, hours in enumerate((0, 1, 2, 3, 3.5, 4, 4.5, 5, 5.5, 5.75, 6, 6.5, 7, 8, 9))}
"""The number that the maker gives a time zone, by hours east of UTC."""


class Dahua(Maker):
    """A traffic camera with ITSAPI."""

    fixed_paths: ClassVar[bool] = True
    retries: ClassVar[int | None] = None
    snapshots: ClassVar[tuple[str, ...]] = ("/cgi-bin/snapshot.cgi",)

    def push(self, sight: CarSight, *, history: bool, opened: bool) -> Post:
        """TollgateInfo; out of its memory it looks as it did live."""
        del opened
        local = sight.local(self.setup.utc_offset)
        name = f"{local:%Y%m%d%H%M%S}_{sight.number}.jpg"
        said = {
            "PicName": name,
            "Picture": {
                "Plate": {
                    "IsExist": sight.plate is not None, "PlateNumber": sight.plate or "",
                    "PlateColor": _colour(sight), "PlateType": _KINDS.get(sight.kind or "", ""),
                    "Confidence": round(sight.confidence), "BoundingBox": [3000, 5000, 3900, 5300], "Channel": 0,
                },
                "Vehicle": {"VehicleColor": "Black", "VehicleSign": "Unknown", "VehicleType": "Car"},
                "CutoutPic": {"Content": _base64(sight.plate_picture), "PicName": f"{name}_cut"},
                "NormalPic": {"Content": _base64(sight.scene_picture), "PicName": name},
                "SnapInfo": {
                    "TriggerSource": "Video", "SnapTime": f"{local:%Y-%m-%d %H:%M:%S}",
                    "AccurateTime": f"{local:%Y-%m-%d %H:%M:%S}.{local.microsecond // 1000:03d}",
                    "TimeZone": _ZONES.get(self.setup.utc_offset / 3600, 0), "LanNo": 1,
                    "Direction": "Obverse" if sight.direction == "forward" else "Reverse",
                    "DefenceCode": "0", "DeviceID": self.setup.name,
                },
            },
        }  # fmt: skip
        body = json.dumps(said, ensure_ascii=False).encode()
        return Post("plate", "/NotificationInfo/TollgateInfo", JSON, body, sight, history)

    def alive(self) -> Post:
        """KeepAlive."""
        body = json.dumps({"Active": "keepAlive", "DeviceID": self.setup.name}).encode()
        return Post("heartbeat", "/NotificationInfo/KeepAlive", JSON, body)

    def registration(self) -> Post:
        """DeviceInfo."""
        said = {"DeviceName": self.setup.name, "DeviceID": self.setup.name, "IPAddress": self.setup.address}
        return Post("registration", "/NotificationInfo/DeviceInfo", JSON, json.dumps(said).encode())

    def is_right(self, post: Post, status: int, body: bytes) -> bool:
        """`{"Result": true}`."""
        del post
        said = parsed(body)
        return status == 200 and isinstance(said, dict) and said.get("Result") is True

    def snap_parts(self, sight: CarSight) -> Iterable[tuple[str, bytes]]:
        """What snapManager says about one car: lines, then the scene with the plate glued to it."""
        event = self._event(sight)
        lines = [f"Events[0].{key}={value}" for key, value in _flat(event)]
        yield "Content-Type: text/plain", "\r\n".join([*lines, ""]).encode()
        yield "Content-Type: image/jpeg", sight.scene_picture + sight.plate_picture

    def event_parts(self, sight: CarSight) -> Iterable[tuple[str, bytes]]:
        """What eventManager says about one car: text alone."""
        data = json.dumps(self._event(sight), ensure_ascii=False, indent=3)
        yield "Content-Type: text/plain", f"Code=TrafficJunction;action=Pulse;index=0;data={data}\n".encode()

    def _event(self, sight: CarSight) -> dict[str, object]:
        return {
            "Code": "TrafficJunction", "EventBaseInfo": {"Code": "TrafficJunction", "Action": "Pulse", "Index": 0},
            "GroupID": sight.number, "UTC": int(sight.at), "UTCMS": int(sight.at % 1 * 1000),
            "Object": {"ObjectType": "Plate", "Text": sight.plate or "", "Confidence": round(sight.confidence)},
            "TrafficCar": {
                "PlateNumber": sight.plate or "", "PlateColor": _colour(sight), "Lane": 1,
                "PlateType": _KINDS.get(sight.kind or "", "Normal"),
                "DrivingDirection": ["Approach" if sight.direction == "forward" else "Leave", "", ""],
            },
        }  # fmt: skip


def _colour(sight: CarSight) -> str:
    return _COLOURS.get(sight.colour) or (sight.colour or "").capitalize()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _flat(value: object, path: str = "") -> Iterable[tuple[str, object]]:
    """`A.B[1]` and what it holds."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _flat(inner, f"{path}[{place}]")
    else:
        yield path, value
