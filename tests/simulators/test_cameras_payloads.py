"""What each simulated camera sends is understood as what it saw."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.anpr import dahua, hikvision
from drivers.anpr.capture import CameraSettings, Capture
from drivers.anpr.makers import parse
from drivers.anpr.multipart import FormPart
from simulators.cameras.dahua import Dahua
from simulators.cameras.hikvision import Hikvision
from simulators.cameras.jpeg import jpeg
from simulators.cameras.maker import Maker
from simulators.cameras.makers import MAKERS
from simulators.cameras.model import CameraSetup, CarSight, Turn

EAST = 28_800.0
SETTINGS = CameraSettings(EAST)
PUSHERS = [
    ("hikvision", ""), ("hikvision", "xml"), ("hikvision", "json"), ("dahua", ""), ("vzenith", ""), ("uniview", ""),
    ("gat1400", ""), ("platerecognizer", ""), ("generic", ""),
]  # fmt: skip
COLOURS = ("blue", "yellow", "white", "black", "green", "yellow-green")
UNTOLD_COLOURS = {"gat1400": {"yellow-green"}, "platerecognizer": set(COLOURS)}
"""GA/T 1400 has no number for it; Stream tells none at all."""
UNTOLD_TURNS = {"gat1400": {"forward", "reverse"}, "uniview": {"reverse"}}
WITHOUT_MARK = {"dahua", "uniview", "gat1400", "platerecognizer"}
PLATE, SCENE = jpeg(2000, seed=1, width=96, height=32), jpeg(5000, seed=2)

SERIAL = st.sampled_from("0123456789ABCDEFGHJKLMNPQRSTUVWXYZ")
PROVINCE = st.sampled_from("京津冀晋蒙辽吉黑沪苏浙皖闽赣鲁豫鄂湘粤桂琼渝川贵云藏陕甘青宁新")
PLATES = st.one_of(
    st.builds("{}{}{}".format, PROVINCE, SERIAL, st.text(SERIAL, min_size=5, max_size=6)),
    st.builds(
        "{}A{}{}".format, PROVINCE, st.text(SERIAL, min_size=4, max_size=4), st.sampled_from(["警", "学", "应急"])
    ),
    st.builds("WJ{}{}".format, PROVINCE, st.text(SERIAL, min_size=5, max_size=5)),
    st.builds("KA{}".format, st.text(SERIAL, min_size=5, max_size=5)),
)


def sight(
    direction: Turn = "forward", plate: str | None = "鄂A12345", *, confidence: float = 88.0,
    colour: str | None = "blue", number: int = 7, at: float = 1_795_305_601.25,
) -> CarSight:  # fmt: skip
    return CarSight(number, plate, confidence, direction, colour, at, PLATE, SCENE)


SIGHTS = st.builds(
    sight,
    number=st.integers(1, 9000),
    plate=st.none() | PLATES,
    confidence=st.integers(0, 100).map(float),
    direction=st.sampled_from(["forward", "reverse"]),
    colour=st.none() | st.sampled_from(COLOURS),
    at=st.floats(1.6e9, 2.0e9),
)


def maker(driver: str, variant: str = "") -> Maker:
    return MAKERS[driver](CameraSetup("lpr-north", driver, variant=variant, utc_offset=EAST))


def pushed(sender: Maker, one: CarSight, *, history: bool = False) -> Capture:
    post = sender.push(one, history=history, opened=False)
    (capture,) = parse(sender.setup.driver, post.body, post.content_type, post.path, SETTINGS).captures
    return capture


@pytest.mark.parametrize(("driver", "variant"), PUSHERS)
@given(one=SIGHTS, history=st.booleans())
def test_a_push_says_what_was_seen(driver: str, variant: str, one: CarSight, *, history: bool) -> None:
    sender = maker(driver, variant)

    capture = pushed(sender, one, history=history)

    assert capture.plate_raw == sender.raw(one.plate)
    scale = 100.0 if driver == "platerecognizer" else 1.0
    unfilled = (driver == "hikvision" or (driver == "vzenith" and one.plate is not None)) and not one.confidence
    assert capture.confidence == (None if unfilled else pytest.approx(one.confidence / scale))
    assert capture.colour == (None if one.colour in UNTOLD_COLOURS.get(driver, ()) else one.colour)
    assert capture.turn == (None if one.direction in UNTOLD_TURNS.get(driver, ()) else one.direction)
    assert capture.history is (history and driver not in WITHOUT_MARK)
    assert capture.seen is not None
    assert capture.seen.firm
    assert abs(capture.seen.wall - one.at) < (1.001 if driver == "gat1400" else 0.002)
    shown = {picture.role: picture.data for picture in capture.pictures}
    if variant in ("xml", "json"):
        assert shown == {}
    elif driver == "platerecognizer":
        assert shown == {"scene": SCENE}
    else:
        assert shown == {"plate": PLATE, "scene": SCENE}


@pytest.mark.parametrize(("driver", "variant"), PUSHERS)
def test_a_record_of_the_memory_is_known_as_the_same_car(driver: str, variant: str) -> None:
    sender = maker(driver, variant)
    live = pushed(sender, sight())

    assert live.key
    assert pushed(sender, sight(), history=True).key == live.key
    assert pushed(sender, sight(at=1_795_305_700.0)).key != live.key


@pytest.mark.parametrize("driver", sorted({driver for driver, _ in PUSHERS} - {"platerecognizer"}))
def test_heart_beats_are_known_as_such(driver: str) -> None:
    sender = maker(driver)
    post = sender.alive()
    assert post is not None
    report = parse(driver, post.body, post.content_type, post.path, SETTINGS)

    assert report.kind == "heartbeat"
    assert sender.is_right(post, report.reply.status, report.reply.body)


@pytest.mark.parametrize("driver", ["dahua", "gat1400"])
def test_registrations_are_known_as_such(driver: str) -> None:
    sender = maker(driver)
    post = sender.registration()
    assert post is not None

    assert parse(driver, post.body, post.content_type, post.path, SETTINGS).kind == "registration"


@pytest.mark.parametrize(("driver", "variant"), PUSHERS)
def test_only_the_right_answer_is_right(driver: str, variant: str) -> None:
    sender = maker(driver, variant)
    post = sender.push(sight(), history=False, opened=False)
    reply = parse(driver, post.body, post.content_type, post.path, SETTINGS).reply

    assert sender.is_right(post, reply.status, reply.body)
    for status, body in ((500, reply.body), (404, b""), (302, b"")):
        assert not sender.is_right(post, status, body)
    if driver not in ("hikvision", "platerecognizer"):
        for body in (b"", b"OK", b"[]", b"{}", b'{"Result": false}', b'{"ok": 1}', b"null", b'{"Response": []}',
                     b'{"Response": {"ResponseCode": 1}}', b'{"ResponseStatusObject": {"StatusCode": "4"}}',
                     b'{"ResponseStatusListObject": {"ResponseStatusObject": []}}'):  # fmt: skip
            assert not sender.is_right(post, 200, body), body


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_streams_say_what_was_seen(direction: Turn) -> None:
    one = sight(direction)
    alerts = Hikvision(CameraSetup("lpr", "hikvision"))
    lanes = Dahua(CameraSetup("lpr", "dahua"))

    told = [hikvision.part(_part(head, body), SETTINGS) for head, body in alerts.stream_parts(one)]
    assert [report.kind for report in told] == ["captures", "pictures", "pictures"]
    snapped = [dahua.part(_part(head, body), SETTINGS) for head, body in lanes.snap_parts(one)]
    assert [picture.role for picture in snapped[1].pictures] == ["scene", "plate"]
    events = [dahua.part(_part(head, body), SETTINGS) for head, body in lanes.event_parts(one)]
    for report in (told[0], snapped[0], events[0]):
        (capture,) = report.captures
        assert (capture.plate_raw, capture.confidence, capture.colour) == ("鄂A12345", 88.0, "blue")
        assert capture.turn == direction
        assert capture.seen is not None
        assert capture.seen.wall == pytest.approx(one.at, abs=0.002)


def test_a_plate_query_gives_what_came_later() -> None:
    sights = [sight(plate=f"鄂A1234{n}", at=1_795_305_600.0 + n) for n in range(4)]
    camera = Hikvision(CameraSetup("lpr", "hikvision"))

    everything, found = camera.plates(sights, b"")
    assert found == sights
    for same in ("20261122T000001+0000", "20261122T000001Z", "20261122T080001", "20261122080001"):
        assert camera.plates(sights, hikvision.query(same))[1] == sights[2:], same
    assert camera.plates(sights, hikvision.query("99999999T999999"))[1] == sights
    later, found = camera.plates(sights, hikvision.query("20261122T080001+0800"))
    assert found == sights[2:]
    captures = parse("hikvision", later, "application/xml", "", SETTINGS).captures
    assert [(one.plate_raw, one.history, one.turn) for one in captures] == [
        ("鄂A12342", True, "forward"),
        ("鄂A12343", True, "forward"),
    ]
    assert [one.seen and one.seen.wall for one in captures] == [1_795_305_602.0, 1_795_305_603.0]
    assert len(parse("hikvision", everything, "application/xml", "", SETTINGS).captures) == 4


def _part(head: str, body: bytes) -> FormPart:
    content_type = head.partition("Content-Type: ")[2].partition(";")[0]
    name = head.partition('name="')[2].partition('"')[0]
    return FormPart(body, content_type, name)
