"""No push without a trace: what went in is the sum of the counters, whatever it is and however it comes."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from drivers.anpr import connection_limit
from drivers.anpr.camera_lookup import MOST_PASSAGES
from drivers.anpr.capture import EVENTS, CameraSettings, Report
from drivers.anpr.makers import PARSERS, parse
from drivers.anpr.multipart import is_multipart
from tests.drivers.anpr.case import Case, all_cases
from tests.drivers.anpr.pushing import ELSEWHERE, HERE, Taker, camera, connected, listening, push, request, until

STRANGER = "127.0.0.3"
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be")


def plate(number: int) -> str:
    return f"沪A{10_000 + number}"


def hikvision_xml(numbers: Sequence[int]) -> str:
    return "<L>" + "".join(
        f"<EventNotificationAlert><dateTime>2026-11-22T08:00:00+08:00</dateTime><eventType>ANPR</eventType><UUID>{n}"
        f"</UUID><ANPR><licensePlate>{plate(n)}</licensePlate></ANPR></EventNotificationAlert>"
        for n in numbers
    ) + "</L>"  # fmt: skip


def hikvision_cars(numbers: Sequence[int]) -> str:
    cars = "".join(f"<ANPR><licensePlate>{plate(n)}</licensePlate></ANPR>" for n in numbers)
    return (
        f"<EventNotificationAlert><eventType>ANPR</eventType><UUID>{numbers[0]}</UUID>{cars}</EventNotificationAlert>"
    )


def listed(one: Callable[[int], Any]) -> Callable[[Sequence[int]], str]:
    return lambda numbers: json.dumps([one(n) for n in numbers], ensure_ascii=False)


def within(*path: str, one: Callable[[int], Any]) -> Callable[[Sequence[int]], str]:
    """The list below a path of objects."""

    def written(numbers: Sequence[int]) -> str:
        found: Any = [one(n) for n in numbers]
        for name in reversed(path):
            found = {name: found}
        return json.dumps(found, ensure_ascii=False)

    return written


def anpr(n: int) -> Any:
    return {"licensePlate": plate(n)}


def alert(n: int) -> Any:
    return {"eventType": "ANPR", "UUID": str(n), "ANPR": anpr(n)}


def junction(n: int) -> Any:
    return {"Code": "TrafficJunction", "Data": {"EventID": n, "TrafficCar": {"PlateNumber": plate(n)}}}


def tollgate(n: int) -> Any:
    return {"Plate": {"PlateNumber": plate(n)}, "SnapInfo": {"AccurateTime": f"2026-11-22 08:00:00.{n:03}"}}


def vehicle(n: int) -> Any:
    return {"MotorVehicleID": str(n), "PlateNo": plate(n)}


BODIES: Mapping[str, tuple[str, Callable[[Sequence[int]], str]]] = {
    "alerts in XML": ("hikvision", hikvision_xml),
    "cars of an alert in XML": ("hikvision", hikvision_cars),
    "an array of alerts": ("hikvision", listed(alert)),
    "an array within": ("hikvision", within("EventNotificationAlert", one=alert)),
    "cars of an alert": ("hikvision", within("ANPR", one=anpr)),
    "an array of events": ("dahua", listed(junction)),
    "events": ("dahua", within("Events", one=junction)),
    "lines of events": (
        "dahua",
        lambda numbers: "\r\n".join(
            f"Code=TrafficJunction;action=Pulse;index=0;data={json.dumps(junction(n)['Data'])}" for n in numbers
        ),
    ),
    "pictures": ("dahua", within("Picture", one=tollgate)),
    "an array of lists of vehicles": ("gat1400", listed(lambda n: {"MotorVehicleObject": [vehicle(n)]})),
    "an array of vehicles": ("gat1400", listed(vehicle)),
    "a list of vehicles": ("gat1400", within("MotorVehicleListObject", one=vehicle)),
    "vehicles": ("gat1400", within("MotorVehicleListObject", "MotorVehicleObject", one=vehicle)),
    "an array of results": ("vzenith", listed(lambda n: {"AlarmInfoPlate": {"result": {"PlateResult": {
        "license": plate(n), "plateid": n}}}})),
    "results": ("vzenith", within("AlarmInfoPlate", "result", "PlateResult", one=lambda n: {
        "license": plate(n), "plateid": n})),
    "an array of structures": ("uniview", listed(lambda n: {"PlateNo": plate(n), "TimeStamp": 1_795_305_600 + n})),
    "structures": ("uniview", within("StructureInfo", "ObjInfo", "VehicleInfoList", one=lambda n: {
        "PlateAttributeInfo": {"PlateNo": plate(n)}, "PassTime": f"20261122080000{n:03}"})),
    "recognitions": ("platerecognizer", within("data", "results", one=lambda n: {"plate": plate(n), "score": 0.9})),
    "an array of recognitions": ("platerecognizer", listed(lambda n: {"data": {"filename": str(n), "results": [
        {"plate": plate(n), "score": 0.9}]}})),
    "passages": ("generic", within("passages", one=lambda n: {"plate": plate(n), "id": str(n)})),
    "plates": ("generic", within("plates", one=plate)),
}  # fmt: skip
FEWER = {"results": 1}
"""Of these only so many are read: the answer names one."""


@pytest.mark.parametrize("count", [1, EVENTS, EVENTS + 1, 100])
@pytest.mark.parametrize("name", BODIES)
async def test_every_car_of_a_push_is_a_passage_or_counted(name: str, count: int) -> None:
    driver, write = BODIES[name]
    take = Taker()
    async with listening([camera(driver)], take) as listener:
        said = await push(listener.port, "/cameras/c1", write(range(1, count + 1)).encode(), "application/json")
        told = listener.snapshot()["c1"]
    read = min(count, MOST_PASSAGES, FEWER.get(name, count))
    assert said.status == 200
    assert take.plates == [plate(n) for n in range(1, read + 1)]
    assert (told["passages"], told["passages_cut"]) == (read, count - read)
    assert (told["pushes"], told["passage_pushes"]) == (1, 1)


def test_gat_1400_answers_each_vehicle_of_an_array() -> None:
    body = BODIES["an array of vehicles"][1](range(1, 4)).encode()
    report = parse("gat1400", body, "application/VIID+JSON", "/VIID/MotorVehicles", CameraSettings())
    answers = json.loads(report.reply.body)["ResponseStatusListObject"]["ResponseStatusObject"]
    assert [one["Id"] for one in answers] == ["1", "2", "3"]


def test_an_event_that_cannot_be_read_costs_no_other() -> None:
    body = json.dumps([alert(1), {"nothing": "of this maker"}, alert(2)]).encode()
    report = parse("hikvision", body, "application/json", "/", CameraSettings())
    assert ([one.plate_raw for one in report.captures], report.cut) == ([plate(1), plate(2)], 1)


@dataclass(frozen=True)
class Sent:
    """One push, and what is to become of it."""

    name: str
    numbers: Sequence[int]
    encoding: str = "utf-8"
    source: str = HERE
    path: str = "/cameras/c1"
    method: str = "POST"
    spoilt: bool = False
    """Its last quarter is missing, and its length says so."""

    @property
    def body(self) -> bytes:
        whole = BODIES[self.name][1](self.numbers).encode(self.encoding)
        return whole[: len(whole) * 3 // 4] if self.spoilt else whole


pushes = st.builds(
    Sent,
    name=st.sampled_from(sorted(BODIES)),
    numbers=st.integers(1, 40).map(lambda count: range(1, count + 1)),
    encoding=st.sampled_from(ENCODINGS),
    source=st.sampled_from([HERE, HERE, HERE, ELSEWHERE, STRANGER]),
    path=st.sampled_from(["/cameras/c1", "/cameras/c1", "//cameras/c1/x", "/cameras/other", "/"]),
    method=st.sampled_from(["POST", "POST", "PUT", "DELETE"]),
    spoilt=st.booleans(),
)


@given(st.lists(pushes, min_size=1, max_size=12))
@example([Sent("lines of events", range(1, 2), "utf-16-le")])
@settings(max_examples=60, deadline=None)
def test_what_went_in_is_the_sum_of_the_counters(sent: list[Sent]) -> None:
    asyncio.run(_all_of(sent))


async def _all_of(sent: list[Sent]) -> None:
    take = Taker()
    by_driver: dict[str, list[Sent]] = {}
    for one in sent:
        by_driver.setdefault(BODIES[one.name][0], []).append(one)
    for driver, mine in by_driver.items():
        take.pushes.clear()
        async with listening([camera(driver), camera("generic", "c2", ELSEWHERE)], take) as listener:
            statuses = [
                (await push(listener.port, one.path, one.body, source=one.source, method=one.method)).status
                for one in mine
            ]
            told = listener.snapshot()
            strangers = sum(listener.strangers.values())
        assert sum(int(one["pushes"] or 0) for one in told.values()) + strangers == len(mine)
        assert strangers == sum(one.source == STRANGER for one in mine)
        heard = told["c1"]
        ends = ("passage_pushes", "heartbeats", "ignored", "unreadable", "refused")
        assert sum(int(heard[name] or 0) for name in ends) == heard["pushes"]
        assert (heard["bugs"], heard["passages"]) == (0, len(take.pushes))
        whole = [
            one for one, status in zip(mine, statuses, strict=True)
            if status == 200 and one.source == HERE and not one.spoilt
        ]  # fmt: skip
        if all(not one.spoilt for one in mine):
            assert int(heard["passages"] or 0) + int(heard["passages_cut"] or 0) == sum(
                len(one.numbers) for one in whole
            )
        assert int(heard["passage_pushes"] or 0) >= len(whole)


TEXTS = [case for case in all_cases() if not case.stream and case.driver in PARSERS]


def alone(report: Report) -> Report:
    """Without the pictures, which need no encoding."""
    return replace(report, captures=tuple(replace(one, pictures=()) for one in report.captures))


def is_document(case: Case) -> bool:
    start = case.payload.lstrip(b"\xef\xbb\xbf \r\n\t")[:1]
    return start in (b"{", b"[", b"<") and not is_multipart(case.content_type, case.payload)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("case", [case for case in TEXTS if is_document(case)], ids=lambda case: case.name)
def test_a_document_in_utf_16_says_the_same(case: Case, encoding: str) -> None:
    """Whatever encoding it says that it has."""
    try:
        text = case.payload.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = case.payload.decode("gb18030")
    spelt = text.lstrip().encode(encoding)
    found = parse(case.driver, spelt, case.content_type, case.path, case.settings)
    assert alone(found) == alone(parse(case.driver, case.payload, case.content_type, case.path, case.settings))


async def test_a_connection_that_finds_no_room_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that are open have a request under way."""
    monkeypatch.setattr(connection_limit, "CONNECTIONS", 1)
    body = BODIES["passages"][1]([1]).encode()
    take = Taker()
    async with listening([camera("generic")], take) as listener, connected(listener.port) as line:
        line.writer.write(request("/cameras/c1", body)[:-5])
        await until(lambda: listener.reading)
        async with connected(listener.port) as other:
            assert await other.reader.read() == b""
        async with connected(listener.port, STRANGER) as other:
            assert await other.reader.read() == b""
        line.writer.write(request("/cameras/c1", body)[-5:])
        assert (await line.answer()).status == 200
        told = listener.snapshot()["c1"]
        assert (told["pushes"], told["passage_pushes"], told["refused_crowded"]) == (2, 1, 1)
        assert listener.strangers == {"stranger": 1}
