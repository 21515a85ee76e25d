"""What people and the cloud may do with plates, and what of it stands in the audit."""

from typing import Any

import pytest

from gateway.masks import masked, without_plates
from gateway.model import Command, ListReady, Performed, Person, Remember
from gateway.site.lists import ListEntry, make
from gateway.site.settings import AccessSettings
from tests.site.compound import ALL, CAMERAS, Compound, yard

PLATE = "沪A12345"
MAY = ALL | {"access.update", "access.forget", "access.export", "access.presence"}


def compound() -> Compound:
    site = Compound(yard(access=AccessSettings(cameras=CAMERAS)))
    site.listed(
        ListEntry(PLATE, "resident", gates=frozenset({"south"}), note="3-2-501"), ListEntry("沪A54321", "visitor")
    )
    site.wait(1)
    return site


def ask(site: Compound, cmd: str, jti: str = "j1", **args: Any) -> None:
    wall = site.instant().wall
    site.feed(Command(jti, "cloud", "li", "k1", MAY, cmd, args, wall + 60, None, site.instant()))


def done(site: Compound, order: str, result: Any = None) -> dict[str, Any]:
    site.feed(Performed(order, True, result, "", "", site.instant()))
    return dict(site.replies[-1].data)


def test_an_update_is_answered_when_it_is_in_force() -> None:
    site = compound()
    ask(site, "access.update", list="residents", base=1, version=2, put=[], drop=[PLATE])
    (order,) = site.performs
    assert (order.cmd, order.by, order.args["drop"]) == ("access.update", "li", [PLATE])
    assert site.replies == []
    new = make("residents", 2, [ListEntry("沪A54321", "visitor")])
    site.feed(ListReady("residents", new, "li", order.order, "", site.instant()))
    site.see("lpr-south", PLATE)
    assert site.told("access.denied"), "it is in force before it is answered"
    assert done(site, order.order, {"version": 2})["ok"]
    audited = site.told("command.done")
    assert [event.data["cmd"] for event in audited] == ["access.update"], "it stands in the audit once"
    assert audited[0].data["args"] == {
        "list": "residents", "base": 1, "version": 2, "put": "(0 entries)", "drop": "(1 entries)",
    }  # fmt: skip


def test_a_refused_update_says_why() -> None:
    site = compound()
    ask(site, "access.update", list="residents", base=7, version=8)
    (order,) = site.performs
    site.feed(Performed(order.order, False, None, "bad-args", "base: is not the version held; held: 1", site.instant()))
    assert site.replies[-1].data["error"] == {"code": "bad-args", "message": "base: is not the version held; held: 1"}


def test_forget_leaves_nothing_in_the_memory_and_one_event_without_the_plate() -> None:
    site = compound()
    site.see("lpr-south", PLATE, key="one")
    site.wait(2)
    site.see("lpr-north", PLATE, key="two")
    assert PLATE in str(site.memory)
    known = len(site.events)
    ask(site, "access.forget", plate="沪a·12345")
    (order,) = site.performs
    assert (order.cmd, order.args) == ("access.forget", {"plate": PLATE})
    assert PLATE not in str(site.memory)
    site.feed(ListReady("residents", make("residents", 1, []), "li", order.order, "", site.instant()))
    assert done(site, order.order, {"lists": ["residents"], "events": 2})["result"] == {
        "lists": ["residents"], "events": 2,
    }  # fmt: skip
    (event,) = site.events[known:]
    assert (event.type, event.data["cmd"], event.data["args"]) == ("command.done", "access.forget", {})
    assert "12345" not in str(event.data)
    site.wait(20)
    site.see("lpr-south", PLATE, key="one")
    assert len(site.told("access.passage", "access.denied")) == 2, "its keys are known: no retry is a new passage"


def test_forget_reaches_a_passage_under_way() -> None:
    site = compound()
    site.fall_silent("board")
    site.see("lpr-south", PLATE)
    ask(site, "access.forget", plate=PLATE)
    assert PLATE not in str(site.memory)
    site.wait(10)
    (event,) = site.told("access.denied")
    assert (event.data["plate"], event.data["plate_raw"], event.data["reason"]) == (None, None, "silent")


def test_an_export_has_all_that_the_site_keeps_and_is_itself_not_kept() -> None:
    site = compound()
    site.see("lpr-south", PLATE)
    site.wait(2)
    ask(site, "access.export", plate=PLATE)
    (order,) = site.performs
    kept: Any = order.args["kept"]
    assert kept["plate"] == PLATE
    assert kept["lists"] == [
        {"list": "residents", "kind": "resident", "from": None, "until": None, "gates": ["south"], "note": "3-2-501"}
    ]
    assert kept["inside"]["kind"] == "resident"
    assert [one["camera"] for one in kept["recent"]] == ["lpr-south"]
    assert done(site, order.order, {"plate": PLATE})["result"] == {"plate": PLATE}
    remembered = site.memory["command/k1/j1"]
    assert PLATE not in str(remembered)
    (viewed,) = site.told("person.viewed")
    assert viewed.data == {"by": "li", "role": None, "what": "plate", "passage": None, "picture": None}
    assert site.told("command.done")[-1].data["args"] == {"plate": "沪A*****"}


def test_show_says_what_would_be_decided_now_and_why() -> None:
    site = compound()
    site.feed(Person("a", "wang", "steward", "access.show", {"plate": PLATE}, site.instant()))
    (order,) = site.performs
    kept: Any = order.args["kept"]
    told = {(one["gate"], one["direction"]): (one["decision"], one["reason"]) for one in kept["gates"]}
    assert told == {
        ("north", "in"): ("denied", "other-gate"), ("north", "out"): ("opened", "other-gate"),
        ("south", "in"): ("opened", "listed"), ("south", "out"): ("opened", "listed"),
    }  # fmt: skip
    assert site.wire == []
    assert site.told("person.viewed")
    assert site.person("access.show", role="steward", plate=PLATE, gate="nowhere")["error"]["code"] == "bad-args"


@pytest.mark.parametrize(
    ("role", "cmd", "may"),
    [
        ("guard", "access.who", False),
        ("guard", "access.show", False),
        ("steward", "access.who", True),
        ("steward", "access.presence", True),
        ("steward", "access.forget", False),
        ("steward", "access.update", False),
        ("technician", "access.presence", True),
    ],
)
def test_who_may_look_at_plates(role: str, cmd: str, *, may: bool) -> None:
    site = compound()
    args: dict[str, Any] = {} if cmd == "access.who" else {"plate": PLATE}
    if cmd == "access.presence":
        args["inside"] = True
    said = site.person(cmd, role=role, **args)
    assert said["ok"] is may
    if not may:
        assert said["error"]["code"] == "not-allowed"
        assert site.told("person.viewed") == []


def test_presence_is_corrected() -> None:
    site = compound()
    assert site.command("access.presence", allow=MAY, plate="沪a 12345", inside=True)["result"] == {"inside": True}
    assert f"inside:{PLATE}" in site.memory
    site.crash()
    assert [car["plate"] for car in site.person("access.who", role="steward")["result"]["inside"]] == [PLATE]
    assert site.command("access.presence", allow=MAY, plate=PLATE, inside=False)["ok"]
    assert f"inside:{PLATE}" not in site.memory
    assert PLATE not in str([event.data for event in site.events if event.stream.value == "audit"])


@pytest.mark.parametrize("plate", ["", "_无_", "x" * 300, 7, None])
def test_what_is_no_plate(plate: Any) -> None:
    site = compound()
    for cmd in ("access.forget", "access.export", "access.presence"):
        more: dict[str, Any] = {"inside": True} if cmd == "access.presence" else {}
        assert site.command(cmd, allow=MAY, plate=plate, **more)["error"]["code"] == "bad-args"
    assert site.performs == []


def test_words_of_people_are_kept_without_plates() -> None:
    site = compound()
    site.command("gate.open", gate="south", reason="resident of 沪A12345 has lost 沪 a·54321")
    (event,) = site.told("command.done")
    assert event.data["args"]["reason"] == "resident of 沪A***** has lost 沪 *******"  # type: ignore[index,call-overload]


def test_a_step_of_forgetting_keeps_the_keys_in_one_commit() -> None:
    site = compound()
    site.see("lpr-south", PLATE, key="one")
    site.wait(2)
    site.trace = []
    ask(site, "access.forget", plate=PLATE)
    kept = {effect.key: effect.value for effect in site.trace[0] if isinstance(effect, Remember)}
    (ring,) = [value for key, value in kept.items() if key.startswith("passage:")]
    assert ring == ["one", None, pytest.approx(site.instant().wall, abs=10), None, False, 0]


# ---- masks ----------------------------------------------------------------------------------------


def test_masked() -> None:
    assert masked("京A12345") == "京A*****"
    assert masked("京") == "京"
    assert (masked(None), masked("")) == ("-", "-")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("passage of 沪A12345 at north", "passage of 沪A***** at north"),
        ("沪AD12345,沪A·12345;京A1234警", "沪A******,沪A******;京A*****"),
        ("沪AD1?345 沪A-D1345 沪AD1-345,沪?12345", "沪A****** 沪A****** 沪A******,沪?*****"),
        ("KeyError: '\\u6caaA12345'", "KeyError: '沪A*****'"),
        ("粤Z1234港 WJ京12345 使123456 VA12345", "粤Z***** WJ****** 使1***** VA*****"),
        ("smoke-3-2f holding 12345 on COM3, 0x0100", "smoke-3-2f holding 12345 on COM3, 0x0100"),
        ("id 01998f3c-7c1e-7ab0-9e4b-b2d1ab12345f", "id 01998f3c-7c1e-7ab0-9e4b-b2d1ab12345f"),
        ("号楼2层走廊 电梯A", "号楼2层走廊 电梯A"),
    ],
)
def test_plates_in_texts(text: str, shown: str) -> None:
    assert without_plates(text) == shown
