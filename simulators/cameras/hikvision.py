"""Hikvision: pushes of the listening host, parts of the alertStream, answers to the plate query.

Any 200 will do. What nobody took is kept, and uploaded again with `alarmDataType` 1.
"""

import json
import re
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import ClassVar, Final
from uuid import NAMESPACE_URL, uuid5
from xml.sax.saxutils import escape

from simulators.cameras.maker import JSON, Maker, form
from simulators.cameras.model import CarSight, Post

BOUNDARY: Final = "boundary"
_BOUNDARY: Final = "---------------------------7e13971310878"
_XML: Final = 'application/xml; charset="UTF-8"'
_NAMESPACE: Final = "http://www.isapi.org/ver20/XMLSchema"
_COLOURS: Final = {"green": "newEnergyGreen", "yellow-green": "newEnergyYellowGreen", None: "unknown"}
_GAT: Final = {"ordinary": 2, "embassy": 3, "consulate": 4, "trailer": 15, "learner": 16, "police": 23,
               "hong-kong": 26, "macau": 27, "wj": 31, "new-energy": 52}  # fmt: skip
"""`palteTypeByGAT`, misspelt by the maker: GA 24.7."""
_KINDS: Final = {"emergency": "emergency", "police": "police", "wj": "WJ", "new-energy": "newEnergy"}
_DIGITS: Final = re.compile(r"(\d{8})T?(\d{6})([+-]\d{2}:?\d{2}|Z)?")


class Hikvision(Maker):
    """An ISAPI camera."""

    keeps_connection: ClassVar[bool] = True
    marks_history: ClassVar[bool] = True
    answers_queries: ClassVar[bool] = True
    snapshots: ClassVar[tuple[str, ...]] = (
        "/ISAPI/Streaming/channels/1/picture",
        "/ISAPI/Streaming/channels/101/picture",
        "/Streaming/channels/1/picture",
    )

    def push(self, sight: CarSight, *, history: bool, opened: bool) -> Post:
        """Multipart with the XML and two pictures, or the bare document."""
        del opened
        if self.setup.variant == "json":
            body = json.dumps(self._json(sight, history), ensure_ascii=False).encode()
            return Post("plate", "", JSON, body, sight, history)
        xml = self.xml(sight, history=history)
        if self.setup.variant == "xml":
            return Post("plate", "", _XML, xml, sight, history)
        parts = [("anpr.xml", "anpr.xml", 'text/xml; charset="UTF-8"', xml)]
        parts += [(name.removesuffix(".jpg"), name, "image/pjpeg", data) for name, data in _pictures(sight)]
        body = form(_BOUNDARY, parts)
        return Post("plate", "", f"multipart/form-data; boundary={_BOUNDARY}", body, sight, history)

    def alive(self) -> Post:
        """`videoloss` that is not active."""
        return Post("heartbeat", "", _XML, self.heartbeat_xml())

    def heartbeat_xml(self) -> bytes:
        """As it stands on the alertStream too."""
        return self._alert("videoloss", "inactive", "videoloss alarm", "")

    def xml(self, sight: CarSight, *, history: bool) -> bytes:
        """The event."""
        local = sight.local(self.setup.utc_offset)
        said = {
            "country": 1, "licensePlate": self.raw(sight.plate) or "", "line": 1, "direction": sight.direction,
            "confidenceLevel": sight.percent, "plateType": _KINDS.get(sight.kind or "", "92TypeCivil"),
            "plateColor": _COLOURS.get(sight.colour, sight.colour), "vehicleType": "vehicle",
            "plateCharBelieve": ",".join([f"{sight.confidence:.0f}"] * len(sight.plate or "")),
            "barrierGateCtrlType": 1, "alarmDataType": int(history), "listType": "temporary",
            "originalLicensePlate": self.raw(sight.plate) or "",
        }  # fmt: skip
        shown = "".join(
            f"<pictureInfo><fileName>{name}</fileName><type>{name.removesuffix('.jpg')}</type><dataType>0</dataType>"
            f"<absTime>{local:%Y%m%d%H%M%S}{local.microsecond // 1000:03d}</absTime></pictureInfo>"
            for name, _ in _pictures(sight)
        )
        gat = f"<VehicleGATInfo><palteTypeByGAT>{_GAT.get(sight.kind or '', 0)}</palteTypeByGAT></VehicleGATInfo>"
        anpr = f"<ANPR>{_elements(said)}<pictureInfoList>{shown}</pictureInfoList>{gat}</ANPR>"
        more = f"<UUID>{self._uuid(sight)}</UUID><picNum>2</picNum>"
        return self._alert("ANPR", "active", "ANPR", anpr + more, local.isoformat(timespec="milliseconds"))

    def stream_parts(self, sight: CarSight) -> Iterable[tuple[str, bytes]]:
        """Headers and body of what the alertStream says about one car."""
        yield f"Content-Type: {_XML}", self.xml(sight, history=False)
        for name, data in _pictures(sight):
            label = name.removesuffix(".jpg")
            disposition = f'Content-Disposition: form-data; name="{label}"; filename="{name}"'
            yield f"{disposition}\r\nContent-Type: image/jpeg", data

    def plates(self, sights: Iterable[CarSight], query: bytes) -> tuple[bytes, list[CarSight]]:
        """The answer to a plate query, and what it holds: everything after the `picTime` of the query."""
        asked = re.search(rb"<picTime>([^<]{0,64})</picTime>", query)
        after = self._read(asked[1].decode("ascii", "replace")) if asked else 0.0
        found = [one for one in sights if int(one.at) > after]
        records = "".join(f"<Plate>{_elements(self._record(one))}</Plate>" for one in found)
        return f'<?xml version="1.0"?><Plates xmlns="{_NAMESPACE}">{records}</Plates>'.encode(), found

    def raw(self, plate: str | None) -> str | None:
        """`unknown` where none was read."""
        return "unknown" if plate is None else plate

    def _read(self, written: str) -> float:
        """Seconds since 1970 of a time of a query, local where it names no zone; 0: it is none."""
        found = _DIGITS.search(written)
        if found is None:
            return 0.0
        zone = timezone(timedelta(seconds=self.setup.utc_offset))
        try:
            if found[3]:
                return datetime.strptime("".join(found.groups()), "%Y%m%d%H%M%S%z").timestamp()
            return datetime.strptime(found[1] + found[2], "%Y%m%d%H%M%S").replace(tzinfo=zone).timestamp()
        except ValueError:
            return 0.0

    def _record(self, sight: CarSight) -> dict[str, object]:
        local = sight.local(self.setup.utc_offset)
        return {
            "captureTime": f"{local:%Y%m%dT%H%M%S%z}", "plateNumber": self.raw(sight.plate),
            "picName": f"{local:%Y%m%d%H%M%S}{sight.number:04d}", "country": 1, "laneNo": 1,
            "direction": sight.direction,
        }  # fmt: skip

    def _json(self, sight: CarSight, history: bool) -> dict[str, object]:
        return {
            "ipAddress": self.setup.address, "eventType": "ANPR", "eventState": "active",
            "dateTime": sight.local(self.setup.utc_offset).isoformat(timespec="milliseconds"),
            "ANPR": {
                "licensePlate": self.raw(sight.plate), "confidenceLevel": sight.percent, "line": 1,
                "direction": sight.direction, "plateColor": _COLOURS.get(sight.colour, sight.colour),
                "plateType": _KINDS.get(sight.kind or "", "92TypeCivil"), "alarmDataType": int(history),
            },
            "UUID": self._uuid(sight),
        }  # fmt: skip

    def _alert(self, kind: str, state: str, text: str, more: str, when: str | None = None) -> bytes:
        told = {
            "ipAddress": self.setup.address, "protocol": "HTTP", "channelID": 1, "dateTime": when,
            "activePostCount": 1 if state == "active" else 0, "eventType": kind, "eventState": state,
            "eventDescription": text, "channelName": self.setup.name,
        }  # fmt: skip
        inside = _elements({key: value for key, value in told.items() if value is not None})
        alert = f'<EventNotificationAlert version="2.0" xmlns="{_NAMESPACE}">{inside}{more}</EventNotificationAlert>'
        return f'<?xml version="1.0" encoding="utf-8"?>\n{alert}\n'.encode()

    def _uuid(self, sight: CarSight) -> str:
        return str(uuid5(NAMESPACE_URL, f"{self.setup.name}/{sight.number}/{sight.at}"))


def _pictures(sight: CarSight) -> Iterable[tuple[str, bytes]]:
    yield "licensePlatePicture.jpg", sight.plate_picture
    yield "detectionPicture.jpg", sight.scene_picture


def _elements(said: dict[str, object]) -> str:
    return "".join(f"<{name}>{escape(str(value))}</{name}>" for name, value in said.items())
