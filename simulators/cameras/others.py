"""UniView (LAPI), GA/T 1400, Plate Recognizer, the gateway's own JSON, and cameras that give pictures only."""

import base64
import json
from typing import Any, ClassVar, Final

from simulators.cameras.maker import JSON, Maker, form, parsed
from simulators.cameras.model import CarSight, Post

_GAT_CLASSES: Final = {
    "ordinary": "02", "embassy": "03", "consulate": "04", "trailer": "15", "learner": "16", "police": "23",
    "hong-kong": "26", "macau": "27", "wj": "31", "new-energy": "52",
}  # fmt: skip
"""GA 24.7."""
_GAT_COLOURS: Final = {"black": "1", "white": "2", "blue": "5", "yellow": "6", "green": "9"}
"""GA/T 1400.3, ColorType; 99 is any other."""
_BOUNDARY: Final = "----formdata-platerec-0193"
_DEGREES: Final = {"forward": 270, "reverse": 90}
"""Of the unit circle in the picture: down is towards the camera."""


class UniView(Maker):
    """A camera whose notifications were subscribed to."""

    fixed_paths: ClassVar[bool] = True
    snapshots: ClassVar[tuple[str, ...]] = (
        "/images/snapshot.jpg",
        "/LAPI/V1.0/Channels/1/Media/Video/Streams/0/Snapshot",
    )

    def push(self, sight: CarSight, *, history: bool, opened: bool) -> Post:
        """Structure, with its pictures in a list."""
        del opened
        local = sight.local(self.setup.utc_offset)
        vehicle = {
            "ID": sight.number, "PassTime": f"{local:%Y%m%d%H%M%S}{local.microsecond // 1000:03d}", "TriggerType": 1,
            "LargePicAttachIndex": 1, "PlatePicAttachIndex": 2,
            "PlateAttributeInfo": {
                "PlateNo": sight.plate or "", "PlateConfidence": round(sight.confidence), "Color": sight.colour or "",
                "Type": sight.kind or "",
            },
            "VehicleFaceInfo": {"IsVehicleHead": int(sight.direction == "forward")},
            "LaneInfo": {"ID": 1, "Direction": "3"},
        }  # fmt: skip
        shown = [
            {"Index": 1, "Type": 1, "Data": base64.b64encode(sight.scene_picture).decode()},
            {"Index": 2, "Type": 2, "Data": base64.b64encode(sight.plate_picture).decode()},
        ]
        said = {
            "Reference": f"http://{self.setup.address}/subscription/1", "TimeStamp": int(sight.at),
            "Seq": sight.number, "DeviceID": self.setup.name, "RelatedID": f"{self.setup.name}-{sight.number}",
            "StructureInfo": {
                "ObjInfo": {"FaceNum": 0, "VehicleNum": 1, "VehicleInfoList": [vehicle]},
                "ImageNum": 2, "ImageInfoList": shown,
            },
        }  # fmt: skip
        body = json.dumps(said, ensure_ascii=False).encode()
        return Post("plate", "/LAPI/V1.0/System/Event/Notification/Structure", JSON, body, sight, history)

    def alive(self) -> Post:
        """A notification that is only alive."""
        said = {"HeartBeatInfo": {"Interval": 30}, "DeviceID": self.setup.name}
        return Post("heartbeat", "/LAPI/V1.0/System/Event/Notification/HeartBeat", JSON, json.dumps(said).encode())

    def is_right(self, post: Post, status: int, body: bytes) -> bool:
        """`Response.ResponseCode` 0."""
        del post
        said = parsed(body)
        told = said.get("Response") if isinstance(said, dict) else None
        return status == 200 and isinstance(told, dict) and told.get("ResponseCode") == 0


class Gat1400(Maker):
    """A camera of GA/T 1400 (视图库): registered first, then kept alive, then vehicles."""

    fixed_paths: ClassVar[bool] = True
    must_register: ClassVar[bool] = True
    heartbeat: ClassVar[float | None] = 60.0
    _type: Final = "application/VIID+JSON;charset=UTF-8"

    def push(self, sight: CarSight, *, history: bool, opened: bool) -> Post:
        """MotorVehicles, one of them. Times are local and without a zone; 99 is any colour without a number."""
        del opened
        device = self.device()
        taken = f"{sight.local(self.setup.utc_offset):%Y%m%d%H%M%S}"
        vehicle = {
            "MotorVehicleID": f"{device}02{taken}{sight.number:05d}02{sight.number:05d}", "InfoKind": 1,
            "SourceID": f"{device}02{taken}{sight.number:05d}", "DeviceID": device,
            "HasPlate": "0" if sight.plate is None else "1", "PlateNo": sight.plate or "",
            "PlateClass": _GAT_CLASSES.get(sight.kind or "", "99"),
            "PlateColor": _GAT_COLOURS.get(sight.colour or "", "99"), "PassTime": taken, "LaneNo": 1,
            "Direction": "3" if sight.direction == "forward" else "4",
            "PlateReliability": f"{sight.confidence:.0f}",
            "SubImageList": {"SubImageInfoObject": [
                {"ImageID": f"{sight.number}-1", "Type": "01", "FileFormat": "Jpeg",
                 "Data": base64.b64encode(sight.scene_picture).decode()},
                {"ImageID": f"{sight.number}-2", "Type": "02", "FileFormat": "Jpeg",
                 "Data": base64.b64encode(sight.plate_picture).decode()},
            ]},
        }  # fmt: skip
        body = {"MotorVehicleListObject": {"MotorVehicleObject": [vehicle]}}
        return self._post("plate", "/VIID/MotorVehicles", body, sight, history=history)

    def alive(self) -> Post:
        """Keepalive."""
        return self._post("heartbeat", "/VIID/System/Keepalive", {"KeepaliveObject": {"DeviceID": self.device()}})

    def registration(self) -> Post:
        """Register."""
        return self._post("registration", "/VIID/System/Register", {"RegisterObject": {"DeviceID": self.device()}})

    def is_right(self, post: Post, status: int, body: bytes) -> bool:
        """`StatusCode` "0", of the whole request or of each object."""
        del post
        said = parsed(body)
        if status != 200 or not isinstance(said, dict):
            return False
        listed = said.get("ResponseStatusListObject")
        found: Any = (
            listed.get("ResponseStatusObject") if isinstance(listed, dict) else said.get("ResponseStatusObject")
        )
        each = found if isinstance(found, list) else [found]
        return bool(each) and all(isinstance(one, dict) and str(one.get("StatusCode")) == "0" for one in each)

    def device(self) -> str:
        """Twenty digits."""
        return f"4201000000119{sum(self.setup.name.encode()) % 10**7:07d}"

    def _post(
        self, what: Any, path: str, said: object, sight: CarSight | None = None, *, history: bool = False
    ) -> Post:
        return Post(what, path, self._type, json.dumps(said, ensure_ascii=False).encode(), sight, history)


class PlateRecognizer(Maker):
    """Plate Recognizer Stream: a program that calls a URL. It says nothing while no car comes, and names no colour."""

    heartbeat: ClassVar[float | None] = None
    retries: ClassVar[int | None] = None

    def push(self, sight: CarSight, *, history: bool, opened: bool) -> Post:
        """The form with `json` and `upload`."""
        del opened
        local = sight.local(self.setup.utc_offset)
        name = f"{self.setup.name}_screenshots/{local:%y-%m-%d/%H-%M-%S.%f}.jpg"
        result = {
            "box": {"xmin": 460, "ymin": 57, "xmax": 557, "ymax": 82}, "plate": self.raw(sight.plate),
            "region": {"code": "cn", "score": 0.9}, "score": sight.confidence / 100, "dscore": 0.76,
            "vehicle": {"score": 0.6, "type": "Sedan"}, "direction": _DEGREES[sight.direction],
        }  # fmt: skip
        said = {
            "hook": {"target": "gateway", "id": self.setup.name, "event": "recognition", "filename": name},
            "data": {
                "camera_id": self.setup.name, "filename": name,
                "timestamp": f"{sight.local(0.0):%Y-%m-%dT%H:%M:%S.%f}Z",
                "timestamp_local": local.isoformat(" ", "microseconds"), "results": [result],
            },
        }  # fmt: skip
        parts = [
            ("json", None, None, json.dumps(said, ensure_ascii=False).encode()),
            ("upload", "screenshot.jpg", "image/jpeg", sight.scene_picture),
        ]
        content_type = f"multipart/form-data; boundary={_BOUNDARY}"
        return Post("plate", "", content_type, form(_BOUNDARY, parts), sight, history)

    def raw(self, plate: str | None) -> str | None:
        """In small letters."""
        return None if plate is None else plate.lower()


class Generic(Maker):
    """Whatever speaks the gateway's own JSON."""

    marks_history: ClassVar[bool] = True
    snapshots: ClassVar[tuple[str, ...]] = ("/snap.jpg",)

    def push(self, sight: CarSight, *, history: bool, opened: bool) -> Post:
        """One passage."""
        del opened
        said = {
            "plate": sight.plate, "confidence": sight.percent, "direction": sight.direction,
            "time": sight.local(self.setup.utc_offset).isoformat(timespec="milliseconds"), "colour": sight.colour,
            "kind": sight.kind, "id": f"{self.setup.name}-{sight.number}", "history": history,
            "plate_picture": base64.b64encode(sight.plate_picture).decode(),
            "scene_picture": base64.b64encode(sight.scene_picture).decode(),
        }  # fmt: skip
        return Post("plate", "", JSON, json.dumps(said, ensure_ascii=False).encode(), sight, history)

    def alive(self) -> Post:
        """`{"heartbeat": true}`."""
        return Post("heartbeat", "", JSON, b'{"heartbeat": true}')

    def is_right(self, post: Post, status: int, body: bytes) -> bool:
        """`{"ok": true}`."""
        del post
        said = parsed(body)
        return status == 200 and isinstance(said, dict) and said.get("ok") is True


class PicturesOnly(Maker):
    """A camera that tells of no plates (ONVIF)."""

    heartbeat: ClassVar[float | None] = None
    snapshots: ClassVar[tuple[str, ...]] = ("/onvif/snapshot",)
