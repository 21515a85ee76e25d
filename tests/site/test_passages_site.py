"""Passages in the whole site: orders, events, pictures, presence, and what a crash leaves of them."""

from typing import Any

import jsonschema  # type: ignore[import-untyped]
import orjson
import pytest

from gateway.contract.events import schemas
from gateway.model import Emit, Json, ListReady, Passage, PictureRef, Remember
from gateway.site.lists import ListEntry
from gateway.site.passages import ORDER_LIFE_S, WAITING
from gateway.site.settings import AccessSettings, Rule
from tests.site.compound import CAMERAS, Compound, yard
from tests.site.world import EPOCH

RESIDENT = "沪A12345"
FIELDS = {
    "passage", "camera", "gate", "direction", "plate", "plate_raw", "plate_kind", "colour", "confidence", "list_kind",
    "decision", "reason", "seen_at", "ordered_at", "opened_at", "pictures", "late",
}  # fmt: skip


def compound(**access: Any) -> Compound:
    site = Compound(yard(access=AccessSettings(cameras=CAMERAS, **access)))
    site.listed(ListEntry(RESIDENT, "resident"), ListEntry("沪B99999", "blocked"))
    site.wait(1)
    return site


def passages(site: Compound) -> list[Emit]:
    return site.told("access.passage", "access.denied")


def last(site: Compound) -> dict[str, Any]:
    return dict(passages(site)[-1].data)


def test_a_resident_is_let_in() -> None:
    site = compound()
    site.see("lpr-south", "沪A·12345", colour="blue", confidence=97.5)
    assert not passages(site), "it is told when it is known what became of the order"
    begun = site.now
    site.wait(2)
    assert site.writes("board.do3") == [True, False]
    (event,) = passages(site)
    assert event.type == "access.passage"
    assert event.subject == "lpr-south"
    assert event.at.mono == begun
    data = event.data
    assert set(data) == FIELDS
    said = {name: data[name] for name in ("camera", "gate", "direction", "plate", "plate_raw", "plate_kind", "colour")}
    assert said == {
        "camera": "lpr-south", "gate": "south", "direction": "in", "plate": RESIDENT, "plate_raw": "沪A·12345",
        "plate_kind": "ordinary", "colour": "blue",
    }  # fmt: skip
    assert (data["confidence"], data["list_kind"], data["decision"], data["reason"]) == (
        97.5, "resident", "opened", "listed",
    )  # fmt: skip
    assert str(data["seen_at"]) < str(data["ordered_at"]) < str(data["opened_at"])
    assert data["late"] is False
    (opened,) = site.told("gate.opened")
    assert (opened.data["cause"], opened.data["passage"], opened.data["by"]) == ("passage", data["passage"], None)
    assert site.memory.keys() & {f"inside:{RESIDENT}"}


def test_a_stranger_is_not() -> None:
    site = compound()
    site.see("lpr-south", "京C12345")
    site.wait(2)
    assert site.writes("board.do3") == []
    (event,) = passages(site)
    assert (event.type, event.data["decision"], event.data["reason"]) == ("access.denied", "denied", "unknown")
    assert event.data["ordered_at"] is event.data["opened_at"] is None


def test_an_exit_opens_and_reports() -> None:
    site = compound()
    site.see("lpr-exit", "沪B99999")
    site.wait(2)
    assert site.writes("board.do3") == [True, False]
    assert (last(site)["decision"], last(site)["reason"], last(site)["list_kind"]) == ("opened", "blocked", "blocked")


def test_a_misread_plate_is_told_as_the_one_that_it_was_taken_for() -> None:
    site = compound()
    site.see("lpr-south", "沪A1234S")
    site.wait(2)
    data = last(site)
    assert (data["reason"], data["plate"], data["plate_raw"]) == ("near-miss", RESIDENT, "沪A1234S")


def test_retries_repeats_and_records_open_nothing() -> None:
    site = compound()
    site.see("lpr-south", RESIDENT, key="one", pictures=(PictureRef("p1", "plate"),))
    site.wait(3)
    for key, more in (("one", {}), ("two", {}), ("three", {"history": True, "seen": site.instant().wall - 3})):
        site.see("lpr-south", RESIDENT, key=key, pictures=(PictureRef(f"p-{key}", "plate"),), **more)
        site.wait(1)
    assert site.writes("board.do3") == [True, False]
    assert len(passages(site)) == 1
    assert [(kept.ids, kept.drop) for kept in site.pictures] == [
        (("p1",), ()), ((), ("p-one",)), ((), ("p-two",)), ((), ("p-three",)),
    ]  # fmt: skip
    site.wait(60)
    site.see("lpr-south", RESIDENT, key="four", history=True, seen=site.instant().wall - 500)
    site.wait(1)
    assert site.writes("board.do3") == [True, False]
    assert (last(site)["late"], last(site)["decision"], last(site)["reason"]) == (True, "no-gate", "late")


def test_a_camera_without_a_gate_only_tells() -> None:
    site = compound()
    site.see("lpr-yard", RESIDENT)
    assert (last(site)["gate"], last(site)["decision"], last(site)["reason"]) == (None, "no-gate", "listed")


# ---- the gate -------------------------------------------------------------------------------------


def test_two_cars_at_once_are_one_pulse_and_two_passages() -> None:
    site = compound()
    site.listed(ListEntry(RESIDENT, "resident"), ListEntry("沪A54321", "visitor"), version=2)
    site.see("lpr-south", RESIDENT)
    site.see("lpr-exit", "沪A54321")
    site.wait(0.1)
    site.see("lpr-exit", "沪A11111")
    site.wait(3)
    assert site.writes("board.do3") == [True, False]
    assert [event.data["decision"] for event in passages(site)] == ["opened"] * 3
    assert all(event.data["opened_at"] for event in passages(site))
    assert len(site.told("gate.opened")) == 1


def test_the_limit_of_a_gate_binds_plates_and_no_emergency_vehicle() -> None:
    site = compound(unknown=Rule("open", "open"))
    for number in range(22):
        site.see("lpr-south", f"沪A{10000 + number}")
        site.wait(1.7)
    assert site.writes("board.do3").count(True) == 20
    assert [event.data["decision"] for event in passages(site)] == ["opened"] * 20 + ["rate-limited"] * 2
    assert passages(site)[-1].type == "access.denied"
    site.see("lpr-south", "沪A1234应急", colour="white")
    site.wait(2)
    assert (last(site)["decision"], last(site)["reason"]) == ("opened", "special")
    assert site.writes("board.do3").count(True) == 21


def police(site: Compound, number: int, camera: str = "lpr-south") -> tuple[Json, Json]:
    """A white plate of the police, another one each time: the decision and its reason."""
    site.see(camera, f"沪A{1000 + number}警", colour="white")
    site.wait(10)
    return last(site)["decision"], last(site)["reason"]


@pytest.mark.parametrize("restart", [True, False])
def test_a_kind_of_plate_by_itself_opens_six_times_an_hour_and_then_needs_a_person(*, restart: bool) -> None:
    site = compound(special={"police": "open"})
    for number in range(6):
        assert police(site, number) == ("opened", "special")
    site.see("lpr-south", "沪A1234应急", colour="white")
    site.wait(10)
    if restart:
        site.stop()
    assert (last(site)["decision"], last(site)["reason"]) == ("denied", "needs-person")
    for number in range(6, 40):
        assert police(site, number) == ("denied", "needs-person")
    assert site.writes("board.do3").count(True) == 6
    assert site.person("gate.open", gate="south", passage=last(site)["passage"])["ok"], "a person lets it in"
    site.wait(10)
    assert site.writes("board.do3").count(True) == 7
    site.listed(ListEntry("沪A1099警", "resident"), version=2)
    assert police(site, 99) == ("opened", "special"), "a list lets it in as ever"
    assert police(site, 100, "lpr-north") == ("opened", "special"), "another gate has its own"
    site.wait(3600)
    assert police(site, 101) == ("opened", "special")


def test_what_the_rule_for_the_unknown_lets_out_needs_no_person() -> None:
    site = compound(unknown=Rule("deny", "open"), special={"police": "open"})
    for number in range(10):
        assert police(site, number, "lpr-exit") == ("opened", "special")


def test_at_a_gate_that_is_held_no_kind_of_plate_is_counted() -> None:
    site = compound(special={"police": "open"})
    site.command("gate.hold", gate="south")
    for number in range(10):
        assert police(site, number)[0] == "held-open"
    site.command("gate.release", gate="south")
    assert police(site, 20) == ("opened", "special")


def test_a_gate_held_by_fire_absorbs_every_plate() -> None:
    site = compound()
    site.burn("smoke-1", "smoke-2")
    site.wait(3)
    written = site.writes("board.do3")
    for plate in (RESIDENT, "沪B99999", None):
        site.see("lpr-south", plate)
        assert (last(site)["decision"], last(site)["reason"], last(site)["ordered_at"]) == ("held-open", "fire", None)
        site.wait(1)
    assert site.writes("board.do3") == written
    assert site.on("board.do3")


def test_a_gate_held_by_command_needs_no_pulse() -> None:
    site = compound()
    site.command("gate.hold", gate="south")
    site.see("lpr-south", RESIDENT)
    assert (last(site)["decision"], last(site)["reason"]) == ("held-open", "listed")
    site.wait(1)
    assert site.writes("board.do3") == [True]


def test_a_fire_in_the_middle_of_an_order_takes_it_over() -> None:
    site = compound()
    site.commits = False
    site.see("lpr-south", RESIDENT)
    site.burn("smoke-1", "smoke-2")
    site.commits = True
    site.commit()
    site.wait(3)
    assert site.on("board.do3")
    (event,) = passages(site)
    assert event.data["decision"] == "held-open"


def test_the_order_for_a_silent_gate_dies_after_five_seconds() -> None:
    site = compound()
    site.fall_silent("board")
    site.see("lpr-south", RESIDENT)
    site.wait(ORDER_LIFE_S + 1)
    data = last(site)
    assert (data["decision"], data["reason"]) == ("denied", "silent")
    assert site.told("access.denied")
    assert not site.told("access.passage")
    assert data["ordered_at"]
    assert data["opened_at"] is None
    assert f"inside:{RESIDENT}" not in site.memory
    site.come_back("board")
    site.wait(5)
    assert not any(site.writes("board.do3")), "it opens for nobody who has left"


def test_a_passage_that_waited_too_long_at_the_door_opens_nothing() -> None:
    site = compound()
    came = site.instant()
    site.wait(ORDER_LIFE_S)
    site.feed(Passage("lpr-south", RESIDENT, came, "late", "in", 95.0))
    site.wait(2)
    assert site.writes("board.do3") == []
    assert (last(site)["decision"], last(site)["reason"]) == ("denied", "too-late")


def test_what_waits_is_bounded() -> None:
    site = compound(unknown=Rule("open", "open"))
    site.fall_silent("board")
    for number in range(WAITING + 5):
        site.see("lpr-south", f"沪A{10000 + number}")
    assert [event.data["decision"] for event in passages(site)] == ["rate-limited"] * 5
    site.wait(ORDER_LIFE_S + 1)
    assert len(passages(site)) == WAITING + 5
    assert not [key for key in site.memory if key.startswith("passing/")]


# ---- crashes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("lose", [False, True])
def test_a_crash_with_an_order_under_way_moves_nothing_twice(lose: bool) -> None:
    site = compound()
    site.commits = False
    site.see("lpr-south", RESIDENT, key="one")
    site.crash(lose=lose)
    site.commits = True
    site.listed(ListEntry(RESIDENT, "resident"))
    site.wait(1)
    assert not any(site.writes("board.do3")), "its order died with the process"
    told = [event.data["opened_at"] for event in passages(site)]
    assert told == ([] if lose else [None])
    site.see("lpr-south", RESIDENT, key="one")
    site.wait(2)
    # What was committed was accepted, and the camera's retry is none; what was lost is new to us.
    assert site.writes("board.do3").count(True) == int(lose)
    assert len(passages(site)) == 1
    assert not [key for key in site.memory if key.startswith("passing/")]


def test_a_crash_after_the_pulse_moves_nothing_twice() -> None:
    site = compound()
    site.see("lpr-south", RESIDENT, key="one")
    site.wait(2)
    for _ in range(3):
        site.crash()
        site.listed(ListEntry(RESIDENT, "resident"))
        site.see("lpr-south", RESIDENT, key="one")
        site.wait(2)
    assert site.writes("board.do3").count(True) == 1
    assert len(passages(site)) == 1


def test_the_key_is_remembered_in_the_step_that_orders() -> None:
    site = compound()
    site.trace = []
    site.see("lpr-south", RESIDENT, key="one")
    (step,) = site.trace
    kinds = [type(effect).__name__ for effect in step]
    assert "Operate" in kinds
    assert any(isinstance(effect, Remember) and effect.key.startswith("passage:lpr-south") for effect in step)


# ---- pictures -------------------------------------------------------------------------------------

BOTH = (PictureRef("p", "plate"), PictureRef("s", "scene"))


@pytest.mark.parametrize(
    ("mode", "plate", "kept"),
    [
        ("plate", RESIDENT, ("p",)),
        ("scene", RESIDENT, ("p", "s")),
        ("none", RESIDENT, ()),
        ("plate", "京C12345", ("p", "s")),
        ("none", "京C12345", ("s",)),
        ("none", "沪A1234应急", ("s",)),
        ("plate", "沪A1234应急", ("p", "s")),
    ],
)
def test_pictures_are_kept_as_the_file_says(mode: str, plate: str, kept: tuple[str, ...]) -> None:
    site = compound(pictures=mode)
    site.see("lpr-south", plate, pictures=BOTH)
    site.wait(2)
    (told,) = site.pictures
    assert told.ids == kept
    assert set(told.drop) == {"p", "s"} - set(kept)
    assert told.passage == last(site)["passage"]
    assert last(site)["pictures"] == [*kept]


# ---- presence -------------------------------------------------------------------------------------


def test_who_passed_is_inside_until_he_leaves() -> None:
    site = compound()
    site.see("lpr-south", RESIDENT)
    site.wait(20)
    told = site.person("access.who", role="steward")["result"]
    assert [(car["plate"], car["kind"]) for car in told["inside"]] == [(RESIDENT, "resident")]
    assert told["counts"] == {"resident": 1}
    site.see("lpr-exit", RESIDENT)
    site.wait(2)
    assert site.person("access.who", role="steward")["result"]["inside"] == []
    viewed = site.told("person.viewed")
    assert [(event.data["by"], event.data["role"], event.data["what"]) for event in viewed] == [
        ("wang", "steward", "presence")
    ] * 2


def test_counts_have_no_plates() -> None:
    site = compound()
    site.see("lpr-south", RESIDENT)
    site.wait(20)
    site.see("lpr-exit", "沪A77777")
    site.wait(2)
    assert site.site.passed() == {
        "inside": {"resident": 1},
        "passed": [
            {"kind": "resident", "direction": "in", "count": 1}, {"kind": "unknown", "direction": "out", "count": 1},
        ],
    }  # fmt: skip


def test_every_event_is_as_the_contract_says() -> None:
    site = compound(unknown=Rule("deny", "open"))
    cars: tuple[tuple[str | None, dict[str, Any]], ...] = (
        (RESIDENT, {}), ("京C12345", {}), (None, {}), ("沪A1234应急", {"pictures": BOTH}),
    )  # fmt: skip
    for plate, more in cars:
        site.see("lpr-south", plate, **more)
        site.see("lpr-exit", plate, confidence=None)
        site.see("lpr-yard", plate, seen=4e12)
        site.wait(3)
    site.person("access.who", role="steward")
    site.listed(ListEntry(RESIDENT, "staff"), version=9, by="file")
    known = schemas()
    told = [event for event in site.events if event.type.startswith(("access.", "gate.", "person.", "command."))]
    assert {event.type for event in told} >= {"access.passage", "access.denied", "gate.opened", "person.viewed"}
    for event in told:
        schema = known[f"sitegateway.{event.type}.v1"]
        data = orjson.loads(orjson.dumps(event.data))
        jsonschema.validate(data, schema["properties"]["data"])


def test_a_guard_lets_a_denied_car_in_by_one_press() -> None:
    site = compound()
    site.see("lpr-south", "京C12345")
    passage = last(site)["passage"]
    wrong = site.person("gate.open", gate="north", passage=passage)
    assert (wrong["ok"], wrong["error"]["code"]) == (False, "bad-args")
    assert site.person("gate.open", gate="south", passage=passage)["ok"]
    (opened,) = site.told("gate.opened")
    assert (opened.data["cause"], opened.data["by"], opened.data["passage"]) == ("page", "wang", passage)
    assert "inside:京C12345" in site.memory
    assert site.person("gate.open", gate="south", passage="鄂" * 100)["error"]["code"] == "bad-args"


# ---- lists ----------------------------------------------------------------------------------------


def test_a_list_that_changed_stands_in_the_audit_and_one_that_stands_as_stored_does_not() -> None:
    site = compound()
    assert site.told("command.done") == []
    site.listed(ListEntry("沪A77777", "visitor"), version=2, by="file")
    (done,) = site.told("command.done")
    assert (done.data["cmd"], done.data["sub"], done.data["args"]) == (
        "access.update", "file", {"list": "residents", "version": 2, "lines": 1},
    )  # fmt: skip
    site.feed(ListReady("residents", None, "file", "", "line 3: kind: found '沪A99999'", site.instant()))
    (refused,) = site.told("command.refused")
    assert refused.data["error"] == {"code": "bad-args", "message": "line 3: kind: found '沪A*****'"}
    site.see("lpr-south", "沪A77777")
    site.wait(1)
    assert last(site)["decision"] == "opened", "a list that failed changes nothing"


def test_windows_are_judged_by_the_time_that_is_given() -> None:
    site = compound()
    site.listed(ListEntry(RESIDENT, "visitor", int(EPOCH), int(EPOCH) + 100), version=2)
    site.see("lpr-south", RESIDENT)
    site.wait(2)
    assert last(site)["decision"] == "opened"
    site.wait(200)
    site.see("lpr-south", RESIDENT)
    assert (last(site)["decision"], last(site)["reason"]) == ("denied", "expired")


def test_a_site_without_cameras_knows_no_plates() -> None:
    site = Compound(yard(access=AccessSettings()))
    assert site.person("access.who", role="technician")["error"]["code"] == "unknown"
    said = site.command("access.forget", allow=frozenset({"access.forget"}), plate=RESIDENT)
    assert said["error"]["code"] == "unknown"
    site.see("lpr-south", RESIDENT)
    assert passages(site) == []
