"""Pushes that makers document or firmware sends, beside the samples: written here as small as they can be."""

import json
from typing import Any

import pytest

from drivers.anpr.camera_stats import Tally
from drivers.anpr.capture import CameraSettings, Capture, Report, Unreadable
from drivers.anpr.makers import parse
from gateway.model import Instant, Passage
from gateway.site.access import Access
from gateway.site.lists import ListEntry, Lists, make
from gateway.site.plates import classify
from gateway.site.settings import AccessSettings

PLATE = "沪A12345"
JPEG = b"\xff\xd8\xff\xe0" + bytes(100) + b"\xff\xd9"
EVENT = {
    "UTC": 1796078961, "UTCMS": 120, "Lane": 2, "GroupID": 7, "VehicleDirection": "Approach",
    "Object": {"ObjectType": "Plate", "Text": PLATE, "Confidence": 240},
    "TrafficCar": {"PlateNumber": PLATE, "PlateColor": "Blue", "Lane": 2, "DrivingDirection": ["Approach", "", ""]},
}  # fmt: skip
LINES = (
    f"Events[0].Code=TrafficJunction\r\nEvents[0].TrafficCar.PlateNumber={PLATE}\r\nEvents[0].TrafficCar.Lane=2\r\n"
    "Events[0].Object.ObjectType=Plate\r\nEvents[0].Object.Confidence=240\r\nEvents[0].TrafficCar.PlateColor=Blue\r\n"
    "Events[0].UTC=1796078961\r\nEvents[0].UTCMS=120\r\nEvents[0].TrafficCar.DrivingDirection[0]=Approach\r\n"
)
CODE = f"Code=TrafficJunction;action=Pulse;index=0;data={json.dumps(EVENT, ensure_ascii=False)}"


def said(driver: str, body: Any, content_type: str = "application/json", path: str = "/x") -> Report:
    raw = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    return parse(driver, raw, content_type, path, CameraSettings(28800.0))


def one(report: Report) -> Capture:
    (capture,) = report.captures
    return capture


def form(*parts: tuple[str, str, bytes]) -> tuple[bytes, str]:
    body = b"".join(
        b'--b\r\nContent-Disposition: form-data; name="%s"\r\nContent-Type: %s\r\n\r\n%s\r\n'
        % (name.encode(), kind.encode(), data)
        for name, kind, data in parts
    )
    return body + b"--b--\r\n", "multipart/form-data; boundary=b"


DAHUA = {
    "an event of EventHttpUpload": ({"Action": "Pulse", "Code": "TrafficJunction", "Index": 0, "Data": EVENT}, ""),
    "several in an envelope": ({"Events": [{"Code": "TrafficJunction", "Data": EVENT}]}, ""),
    "a text of NotifyEvent": (CODE.encode(), "text/plain"),
    "parts with a text": form(("info", "text/plain", CODE.encode()), ("file", "image/jpeg", JPEG)),
    "parts with lines": form(("info", "text/plain", LINES.encode()), ("file", "image/jpeg", JPEG)),
    "parts with JSON": form(
        ("info", "application/json", json.dumps({"Events": [{"Code": "TrafficJunction", "Data": EVENT}]}).encode()),
        ("file", "image/jpeg", JPEG),
    ),
}


@pytest.mark.parametrize("name", DAHUA)
def test_dahua_says_the_same_in_every_push(name: str) -> None:
    """Time, confidence, lane and colour, as on the path that is pulled."""
    body, kind = DAHUA[name]
    report = said("dahua", body, kind, "/cameras/c1")
    found = one(report)
    assert (found.plate_raw, found.confidence, found.lane, found.colour) == (PLATE, 240.0, "2", "blue")
    assert found.seen is not None
    assert found.seen.wall == pytest.approx(1796078961.12)
    assert (found.turn, bool(found.key)) == ("forward", True)
    assert len(found.pictures) == name.startswith("parts")
    assert json.loads(report.reply.body)["Result"] is True


def test_dahua_plate_text_and_what_is_no_car() -> None:
    bare = {"UTC": 1796078961, "Plate": {"Text": PLATE, "Confidence": 90}}
    found = one(said("dahua", {"Code": "TrafficJunction", "Data": bare}))
    assert (found.plate_raw, found.confidence) == (PLATE, 90.0)
    for more in (
        {"Vehicle": {"ObjectType": "NonMotor"}}, {"CommInfo": {"SnapCategory": "NonMotor"}},
        {"Object": {"ObjectType": "NonMotor", "Text": PLATE}}, {"Vehicle": {"Category": "Bicycle"}},
    ):  # fmt: skip
        report = said("dahua", {"Code": "TrafficJunction", "Data": {**EVENT, **more}})
        assert (report.kind, report.captures) == ("other", ())
    stopped = said("dahua", {"Code": "TrafficJunction", "Action": "Stop", "Data": EVENT})
    assert stopped.captures == ()


PROPERTIES = [{"description": "plateNo", "value": PLATE}, {"description": "plateColor", "value": "blue"}]
TARGETS: dict[str, dict[str, Any]] = {
    "listed": {"CaptureResult": [{"targetID": 1, "Vehicle": {"Property": PROPERTIES}}]},
    "plain": {"CaptureResult": [{"targetID": 1, "Vehicle": {"plateNo": PLATE, "plateColor": "blue"}}]},
    "valued": {"CaptureResult": [{"Vehicle": {"licensePlate": {"value": PLATE, "confidence": 97},
                                              "plateColor": {"value": "blue"}}}]},
}  # fmt: skip


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("parted", [False, True])
def test_hikvision_mixed_targets(name: str, *, parted: bool) -> None:
    event = {"eventType": "mixedTargetDetection", "eventState": "active", "channelID": 1,
             "dateTime": "2026-12-01T06:49:21+08:00", **TARGETS[name]}  # fmt: skip
    body = json.dumps(event, ensure_ascii=False).encode()
    raw, kind = form(("mixedTargetDetection", "application/json", body), ("plate", "image/jpeg", JPEG))
    found = one(said("hikvision", raw, kind) if parted else said("hikvision", body))
    assert (found.plate_raw, found.colour, len(found.pictures)) == (PLATE, "blue", parted)
    assert found.seen is not None


def test_hikvision_people_are_no_cars() -> None:
    event = {"eventType": "mixedTargetDetection", "CaptureResult": [{"Human": {"Rect": {"x": 0.1}}}]}
    report = said("hikvision", event)
    assert (report.kind, report.events) == ("other", ("mixedTargetDetection",))
    for over in ("inactive", "Inactive"):
        assert (
            said("hikvision", {"eventType": "ANPR", "eventState": over, "ANPR": {"licensePlate": PLATE}}).captures == ()
        )
    assert said("hikvision", {"eventType": "videoloss", "eventState": "inactive"}).kind == "heartbeat"


@pytest.mark.parametrize("driver", ["hikvision", "dahua", "vzenith", "uniview", "generic"])
@pytest.mark.parametrize("body", [{}, {"a": 1}, [], {"hello": "world", "n": None}])
def test_what_means_nothing_is_unreadable_and_not_silent(driver: str, body: Any) -> None:
    with pytest.raises(Unreadable):
        said(driver, body)


def three(plate: str) -> Passage:
    body = {"AlarmInfoPlate": {"serialno": "s", "result": {"PlateResult": {"license": plate, "plateid": 3}}}}
    found = one(said("vzenith", body))
    at = Instant(1.0, 1796078961.0, synced=True)
    return Passage("c1", found.plate_raw, at, found.key, "in", 95.0, also=found.also)


@pytest.mark.parametrize(
    ("plate", "decision", "reason", "taken_for"),
    [
        ("粤ZJ068澳|沪A12345|", "opened", "listed", "沪A12345"),
        ("沪A12345|粤ZJ068澳", "opened", "listed", "沪A12345"),
        ("粤ZJ068澳|京A1?345", "denied", "unknown", "粤ZJ068澳"),
        ("沪A12345|粤Z1234港", "denied", "blocked", "粤Z1234港"),
        ("_无_|_无_", "denied", "no-plate", None),
        ("沪A1|2345", "denied", "unread", None),
    ],
)
def test_each_plate_of_a_car_with_several_is_tried(
    plate: str, decision: str, reason: str, taken_for: str | None
) -> None:
    listed = (ListEntry(PLATE, "resident"), ListEntry("粤Z1234港", "blocked"))
    site = Access(AccessSettings(cameras={"c1": "gate"}), Lists([make("residents", 1, listed)]))
    passage = three(plate)
    assert passage.plate_raw == plate
    found = site.take(passage, 1796078961.0).decision
    assert found is not None
    if reason == "unread":  # two halves are no plates, whatever they are called
        assert found.decision == "denied"
        return
    assert (found.decision, found.reason) == (decision, reason)
    assert (found.plate.text if found.plate else None) == taken_for


def test_a_dash_of_gat1400_is_an_unread_character_wherever_it_stands() -> None:
    body = {"MotorVehicleObject": [{"PlateNo": "沪A-12345", "MotorVehicleID": "1", "PassTime": "20261201064921"}]}
    found = one(said("gat1400", body, path="/VIID/MotorVehicles"))
    assert found.plate_raw == "沪A-12345"
    plate = classify(found.plate_raw, blanks=found.blanks)
    assert plate is not None
    assert (plate.text, plate.whole) == ("沪A?12345", False)


def test_a_form_of_a_camera() -> None:
    body = ("type=online&plate_num=%E6%B2%AAA12345&plate_color=%E8%93%9D%E8%89%B2&vdc_type=in&confidence=97"
            "&start_time=1796078961&picture=" + "_9j_4AAQSkZJRgABAQAAAQABAAD_2w..")  # fmt: skip
    found = one(said("generic", body.encode(), "application/x-www-form-urlencoded"))
    assert (found.plate_raw, found.colour, found.turn, found.confidence) == (PLATE, "blue", "forward", 97.0)
    assert found.seen is not None
    assert found.seen.wall == 1796078961
    assert [shown.role for shown in found.pictures] == ["scene"]
    gbk = b"plate_num=" + "".join(f"%{byte:02x}" for byte in PLATE.encode("gbk")).encode()
    assert one(said("generic", gbk)).plate_raw == PLATE


def test_kinds_that_a_camera_invents_do_not_fill_the_memory() -> None:
    tally = Tally()
    for number in range(1000):
        tally.heard(Report("other", events=(f"kind-{number}沪A12345",)), 1.0)
    told = tally.told(1.0)
    assert told["ignored"] == told["pushes"] == 1000
    assert len(told) < 50
    assert told["ignored_more"] == 1000 - 16
    assert "沪" not in str(told)


def hikvision(plate: str = PLATE, **more: Any) -> dict[str, Any]:
    """One event of the JSON family."""
    event = {"eventType": "ANPR", "eventState": "active", "dateTime": "2026-12-01T10:00:00+08:00"}
    return {**event, "ANPR": {"licensePlate": plate, "confidenceLevel": 90}, **more}


@pytest.mark.parametrize("wrap", [lambda many: many, lambda many: {"EventNotificationAlert": many},
                                  lambda many: {"events": many}], ids=["bare", "wrapped", "listed"])  # fmt: skip
def test_each_event_of_an_array_keeps_its_own_state_and_channel(wrap: Any) -> None:
    """What is over opens nothing, and no channel is taken for that of its neighbour."""
    events = [hikvision(eventState="inactive"), hikvision("沪B67890", channelID=2), hikvision("沪C11111", channelID=3)]
    cars = said("hikvision", wrap(events)).captures
    assert [(one.plate_raw, one.channel) for one in cars] == [("沪B67890", 2), ("沪C11111", 3)]


def test_several_alerts_in_one_xml_keep_their_channels() -> None:
    alert = (
        "<EventNotificationAlert><channelID>{}</channelID><eventState>active</eventState><eventType>ANPR</eventType>"
        "<ANPR><licensePlate>{}</licensePlate></ANPR><ANPR><licensePlate>沪D00001</licensePlate></ANPR>"
        "</EventNotificationAlert>"
    )
    body = f"<L>{alert.format(1, PLATE)}{alert.format(2, '沪B67890')}</L>".encode()
    cars = said("hikvision", body, "application/xml").captures
    assert [(one.plate_raw, one.channel) for one in cars] == [
        (PLATE, 1), ("沪D00001", 1), ("沪B67890", 2), ("沪D00001", 2)
    ]  # fmt: skip


TWO_LINES = LINES + LINES.replace("Events[0]", "Events[1]").replace(PLATE, "沪B67890") + "Events[1].Index=1\r\n"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ([{"Code": "trafficjunction", "Data": EVENT}, {"Code": "TrafficJunction", "Index": 1, "Data": EVENT}], ""),
        ({"Events": [{"Code": "TrafficJunction", "Data": EVENT}, {"Code": "X", "Index": 1, "Data": EVENT},
                     {"Code": "TrafficJunction", "Index": 1, "Data": [EVENT]}]}, ""),
        (f"{CODE}\r\n{CODE.replace('index=0', 'index=1').replace('Code=', 'code=')}".encode(), "text/plain"),
        (TWO_LINES.encode(), "text/plain"),
        form(("info", "text/plain", TWO_LINES.encode()), ("file", "image/jpeg", JPEG)),
        form(("a", "text/plain", CODE.encode()), ("b", "text/plain", CODE.replace("index=0", "index=1").encode())),
    ],
    ids=["array", "envelope", "codes", "lines", "lines in parts", "codes in parts"],
)  # fmt: skip
def test_every_car_of_a_dahua_push_counts_with_its_channel(body: Any, content_type: str) -> None:
    first, second = said("dahua", body, content_type).captures
    assert (first.channel in (None, 1), second.channel) == (True, 2)


MARKS = (True, 1, "1", "true", "True", "TRUE")
RECORDS: dict[str, Any] = {
    "hikvision": lambda mark: hikvision(alarmDataType=mark),
    "dahua": lambda mark: {"Events": [{"Code": "TrafficJunction", "Data": {**EVENT, "IsOffline": mark}}]},
    "vzenith": lambda mark: {"AlarmInfoPlate": {"result": {"PlateResult": {"license": PLATE, "isoffline": mark}}}},
    "generic": lambda mark: {"plate": PLATE, "history": mark},
}


@pytest.mark.parametrize("mark", MARKS, ids=repr)
@pytest.mark.parametrize("driver", RECORDS)
def test_a_record_is_marked_in_any_form_of_yes(driver: str, mark: object) -> None:
    """A record out of a camera's memory that passes for a car opens the gate to nobody."""
    assert one(said(driver, RECORDS[driver](mark))).history


@pytest.mark.parametrize("mark", [False, 0, "0", "false", "", None], ids=repr)
@pytest.mark.parametrize("driver", RECORDS)
def test_no_other_mark_makes_a_record(driver: str, mark: object) -> None:
    assert not one(said(driver, RECORDS[driver](mark))).history


@pytest.mark.parametrize("no", [False, 0, "0", "false", "否", "N"], ids=repr)
def test_a_camera_that_says_there_is_no_plate_is_believed(no: object) -> None:
    vehicle = {"MotorVehicleObject": [{"PlateNo": PLATE, "HasPlate": no}]}
    assert one(said("gat1400", {"MotorVehicleListObject": vehicle}, path="/VIID/MotorVehicles")).plate_raw is None
    assert one(said("dahua", {"Picture": {"Plate": {"PlateNumber": PLATE, "IsExist": no}}})).plate_raw is None


@pytest.mark.parametrize("name", ["plateNo", "License_Plate", "car-no", "vehicle plate", "hphm", "车牌号", "plate.text",
                                  "platestr", "CAR_NUM", "license number"])  # fmt: skip
def test_a_plate_is_found_by_any_spelling_of_its_name(name: str) -> None:
    assert one(said("generic", {"data": {name: PLATE, "Confidence_Level": 91}})).confidence == 91
    assert one(said("generic", {name: {"text": PLATE, "score": 0.9}})).plate_raw == PLATE


def test_several_plates_in_one_list_are_several_cars() -> None:
    cars = said("generic", {"plates": [PLATE, "沪B67890"], "time": 1796078961}).captures
    assert [one.plate_raw for one in cars] == [PLATE, "沪B67890"]
    assert len({one.key for one in cars}) == 2


def test_a_part_that_cannot_be_read_does_not_cost_the_others() -> None:
    body, content_type = form(
        ("odd", "application/json", b"{"), ("event", "application/json", json.dumps(hikvision()).encode())
    )
    assert one(said("hikvision", body, content_type)).plate_raw == PLATE


def test_a_zero_beside_a_plate_is_a_confidence_that_was_not_filled() -> None:
    """VZenith's scale begins at 1; 0 would deny every resident."""

    def sure(plate: str) -> float | None:
        result = {"license": plate, "confidence": 0}
        return one(said("vzenith", {"AlarmInfoPlate": {"result": {"PlateResult": result}}})).confidence

    assert (sure(PLATE), sure("_无_")) == (None, 0.0)
