import csv
import io
import random
import time
import tracemalloc
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.model import Json
from gateway.site import list_update
from gateway.site.list_csv import COLUMNS, PROBLEMS, BadEntry, EntryReader, RowProblem, fingerprint, read
from gateway.site.list_update import ENTRIES, PARTS, PATIENCE_S, UNDER_WAY, ListChange, Refusal, Updates, Waiting
from gateway.site.lists import ALWAYS, ListEntry, Lists, changed, make, pack, unpack
from gateway.site.plates import PROVINCES, normalise, spellings

CHINA = timezone(timedelta(hours=8))
GATES = ("north-in", "north-out")


def at(year: int, month: int, day: int, hour: int = 0) -> int:
    return int(datetime(year, month, day, hour, tzinfo=CHINA).timestamp())


def problems(text: str | bytes, *, gates: tuple[str, ...] | None = GATES) -> list[tuple[int, str, str]]:
    data = text if isinstance(text, bytes) else text.encode()
    found = read("residents", data, CHINA, gates)
    assert (found.list is None) == any(not one.warning for one in found.problems)
    return [(one.line, one.key, one.text) for one in found.problems]


# ---- CSV ------------------------------------------------------------------------------------------


def test_a_file() -> None:
    text = """plate,kind,from,until,gates,note
鄂A·12345,resident,,,,3-2-501
鄂ao1234,visitor,2026-11-22,2026-11-23,north-in north-out,"Li, plumber"

# a note to people
WX1234A,staff,2026-11-22T08:00:00+08:00,2026-11-22T09:00:00Z,north-in,
鄂A12345,blocked,,2026-12-31,,
"""
    found = read("residents", text.encode(), CHINA, GATES)
    assert found.problems == (RowProblem(6, "plate", "fits no kind of plate", warning=True),)
    assert found.list is not None
    assert found.list.version == fingerprint(text.encode())
    assert len(found.list) == 4
    both = frozenset(GATES)
    assert found.list.find("鄂A01234") == (
        ListEntry("鄂A01234", "visitor", at(2026, 11, 22), at(2026, 11, 24), both, "Li, plumber"),
    )
    assert {entry.kind for entry in found.list.find("鄂A12345")} == {"resident", "blocked"}
    (foreign,) = found.list.find("WX1234A")
    assert (foreign.since, foreign.until, foreign.gates) == (
        at(2026, 11, 22, 8),
        at(2026, 11, 22, 17),
        frozenset({"north-in"}),
    )
    assert sorted(found.list, key=lambda one: one.plate) == sorted(
        (one for plate in ("鄂A01234", "鄂A12345", "WX1234A") for one in found.list.find(plate)),
        key=lambda one: one.plate,
    )


@pytest.mark.parametrize(
    "text",
    [
        "鄂A12345,resident\n",
        "\ufeffplate,kind\r\n鄂A12345,resident\r\n",
        "note,gates,KIND,Plate\n,, Resident ,鄂A12345\n",
        "\n\n鄂A12345,resident,,,,\n",
        'plate,kind\n"鄂A12345",resident',
    ],
)
def test_other_ways_to_write_it(text: str) -> None:
    found = read("x", text.encode(), CHINA)
    assert not found.problems
    assert found.list is not None
    assert [(one.plate, one.kind) for one in found.list] == [("鄂A12345", "resident")]


@pytest.mark.parametrize(
    ("text", "line", "key", "part"),
    [
        ("plate,kind\n鄂A12345,residnet\n", 2, "kind", "did you mean 'resident'"),
        ("plate,kind\n鄂A12345,\n", 2, "kind", "resident | visitor"),
        ("plate,kind\n,resident\n", 2, "plate", "no plate"),
        ("plate,kind\n无牌车,resident\n", 2, "plate", "no plate"),
        ("plate,kind\n" + "A" * 20 + ",resident\n", 2, "plate", "20 characters"),
        ("plate,kind,from\n鄂A12345,resident,22.11.2026\n", 2, "from", "2026-12-31"),
        ("plate,kind,until\n鄂A12345,resident,2026-02-30\n", 2, "until", "'2026-02-30'"),
        ("plate,kind,until\n鄂A12345,resident,2026-11-22T08:00:00\n", 2, "until", "+08:00"),
        ("plate,kind,until\n鄂A12345,resident,9999-12-31\n", 2, "until", "found"),
        ("plate,kind,from,until\n鄂A12345,resident,2026-11-23,2026-11-22\n", 2, "until", "not after"),
        ("plate,kind,gates\n鄂A12345,resident,north_in\n", 2, "gates", "did you mean 'north-in'"),
        ("plate,kind,gate\n鄂A12345,resident,\n", 1, "gate", "did you mean 'gates'"),
        ("plate,kind,plate\n鄂A12345,resident,\n", 1, "plate", "twice"),
        ("plate,note\n鄂A12345,x\n", 1, "kind", "missing"),
        ("plate,kind\n鄂A12345,resident,a,b\n", 2, "", "quotes"),
        ('plate,kind\n鄂A12345,resident\n"鄂A12346,resident\n', 3, "", "no CSV"),
        ("plate;kind\n鄂A12345;resident\n", 1, "", "';'"),
    ],
)
def test_mistakes_are_named_with_their_line(text: str, line: int, key: str, part: str) -> None:
    found = problems(text)
    assert [one[:2] for one in found if part in one[2]] == [(line, key)]


def test_a_file_in_gbk_is_told_so_at_its_line() -> None:
    good = b"plate,kind\nA12345,resident\n"
    assert problems(good + "鄂A12345,resident\n".encode("gbk"))[-1][:2] == (3, "")
    assert "CSV UTF-8" in problems("plate,kind\n鄂A12345,resident\n".encode("gbk"))[-1][2]


def test_all_mistakes_come_in_one_run_up_to_a_limit() -> None:
    lines = "".join(f"鄂A{number:05},nobody\n" for number in range(1000))
    found = problems("plate,kind\n" + lines)
    assert len(found) == PROBLEMS + 1
    assert [one[0] for one in found[:3]] == [2, 3, 4]


def test_the_end_of_a_day_is_local_also_when_the_clocks_change() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    found = read("x", b"plate,kind,from,until\nA1,staff,2026-10-25,2026-10-25\n", berlin)
    assert found.list is not None
    (entry,) = found.list.find("A1")
    assert entry.until - entry.since == 25 * 3600
    assert datetime.fromtimestamp(entry.since, UTC).hour == 22


@given(st.binary(max_size=200), st.text(alphabet='鄂A1,"\n\r#;\x00resident2026-', max_size=120))
@settings(max_examples=400)
def test_any_bytes_are_a_list_or_mistakes(raw: bytes, text: str) -> None:
    for data in (raw, text.encode(), b"plate,kind,from,until,gates,note\n" + text.encode()):
        found = read("x", data, CHINA, GATES)
        assert (found.list is None) == any(not one.warning for one in found.problems)
        assert all(one.line >= 0 and one.text for one in found.problems)


# ---- the list itself ------------------------------------------------------------------------------

entries = st.builds(
    ListEntry,
    st.one_of(
        st.builds(
            lambda p, s: normalise(f"{p}A{s}"),
            st.sampled_from(PROVINCES),
            st.text(alphabet="01AB8", min_size=5, max_size=6),
        ),
        st.sampled_from(["WX1234A", "京X1234应急", "WJ京12345", "ÅNGSTRÖM1", "A" * 16, "一二三四"]),
    ),
    st.sampled_from(["resident", "blocked"]),
    st.integers(0, 5),
    st.integers(6, ALWAYS),
    st.sampled_from([frozenset(), frozenset({"north-in"})]),
    st.sampled_from(["", "3-2-501", "张"]),
)


@given(st.lists(entries, max_size=40), st.lists(entries, max_size=10), st.integers(0, 3))
def test_a_list_holds_what_was_put_into_it(rows: list[ListEntry], put: list[ListEntry], drops: int) -> None:
    old = make("x", 1, rows)
    assert sorted(old, key=repr) == sorted(rows, key=repr)
    assert len(old) == len(rows)
    for entry in rows:
        assert entry.plate in old
        assert sorted(old.find(entry.plate), key=repr) == sorted(
            (one for one in rows if one.plate == entry.plate), key=repr
        )
    drop = [entry.plate for entry in rows[:drops]]
    gone = {entry.plate for entry in put} | set(drop)
    new = changed(old, 2, put, drop)
    assert sorted(new, key=repr) == sorted([*(one for one in rows if one.plate not in gone), *put], key=repr)
    assert (new.name, new.version, old.version) == ("x", 2, 1)


@given(st.lists(entries, max_size=30), entries)
def test_near_finds_what_a_search_of_all_lines_finds(rows: list[ListEntry], seen: ListEntry) -> None:
    lists = Lists([make("a", 1, rows[::2]), make("b", 1, rows[1::2])])
    slow = {one.plate for one in rows if one.plate in spellings(seen.plate)}
    assert set(lists.near(seen.plate)) <= slow
    assert len(lists) == len(rows)


@given(
    st.text(alphabet=PROVINCES + "警学挂港澳领使民航应急0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=1, max_size=8)
)
def test_packing_loses_nothing(plate: str) -> None:
    key = pack(plate)
    assert key is not None
    assert unpack(key) == plate
    assert key < 2**64


def test_lists_are_replaced_by_name() -> None:
    lists = Lists([make("a", 1, [ListEntry("京A12345", "resident")])])
    more = lists.replaced(make("b", 1, [ListEntry("京A12345", "blocked")]))
    assert [(name, one.kind) for name, one in more.find("京A12345")] == [("a", "resident"), ("b", "blocked")]
    again = more.replaced(make("a", 2, []))
    assert [one.version for one in again.lists] == [2, 1]
    assert again.named("c") is None


def hundred_thousand() -> bytes:
    chance = random.Random(3)  # noqa: S311 - repeatable on purpose
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for number in range(100_000):
        province = chance.choice(PROVINCES)
        plate = f"{province}{chance.choice('ABCDEFGH')}·{number:05}"
        until = f"2027-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}"
        note = f"{chance.randint(1, 40)}号楼{chance.randint(101, 3399)}"
        writer.writerow(
            [plate, chance.choice(("resident", "visitor")), "2026-01-01", until, chance.choice(("", *GATES)), note]
        )
    return out.getvalue().encode()


def test_a_hundred_thousand_plates() -> None:
    data = hundred_thousand()
    begun = time.process_time()
    found = read("residents", data, CHINA, GATES)
    took = time.process_time() - begun
    assert found.list is not None
    assert len(found.list) == 100_000
    assert took < 4, "2 s on a machine that does nothing else"
    tracemalloc.start()
    kept = read("residents", data[: len(data) // 4], CHINA, GATES).list
    now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept is not None
    assert 4 * now < 8 << 20
    assert 4 * peak < 20 << 20


# ---- access.update --------------------------------------------------------------------------------


def updates() -> Updates:
    return Updates(EntryReader(CHINA, GATES))


def put(*plates: str, **more: Json) -> dict[str, Json]:
    return {"list": "a", "version": 2, "base": 1, "put": [{"plate": one, "kind": "resident"} for one in plates], **more}


def test_an_update_in_one_part() -> None:
    entry: dict[str, Json] = {
        "plate": "京a·1o345",
        "kind": "visitor",
        "from": "2026-11-22",
        "until": None,
        "gates": ["north-in"],
        "note": "x",
    }
    taken = updates().take({"list": "a", "version": "v2", "base": "v1", "put": [entry], "drop": ["京A·99999"]}, "v1")
    assert isinstance(taken, ListChange)
    assert (taken.list, taken.version, taken.full, taken.drop) == ("a", "v2", False, ("京A99999",))
    assert [*taken.put] == [ListEntry("京A10345", "visitor", at(2026, 11, 22), ALWAYS, frozenset({"north-in"}), "x")]
    old = make("a", "v1", [ListEntry("京A99999", "resident"), ListEntry("京A88888", "resident")])
    assert {one.plate for one in taken.apply(old)} == {"京A10345", "京A88888"}


def test_parts_in_any_order_and_twice_count_once_all_are_there() -> None:
    house = updates()
    first, second, third = (put(f"京A1234{number}", part=number, parts=3) for number in (1, 2, 3))
    assert house.take(third, 1) == Waiting(2)
    assert house.take(third, 1) == Waiting(2)
    assert house.take(first, 1) == Waiting(1)
    taken = house.take(second, 1)
    assert isinstance(taken, ListChange)
    assert [one.plate for one in taken.put] == ["京A12341", "京A12342", "京A12343"]
    assert house.take(second, 1) == Waiting(2)


def test_a_full_update_needs_no_base_and_leaves_nothing_of_the_old() -> None:
    taken = updates().take(
        {"list": "a", "version": 9, "full": True, "put": [{"plate": "京A12345", "kind": "staff"}]}, 1
    )
    assert isinstance(taken, ListChange)
    assert [one.plate for one in taken.apply(make("a", 1, [ListEntry("京A1", "resident")]))] == ["京A12345"]
    assert taken.apply(None).version == 9


def test_a_wrong_base_is_refused_with_the_version_held() -> None:
    house = updates()
    assert house.take(put("京A12345", part=1, parts=2), 1) == Waiting(1)
    refused = house.take(put("京A12346", part=2, parts=2), 7)
    assert isinstance(refused, Refusal)
    assert refused.held == 7
    assert house.take(put("京A12346", part=2, parts=2), 1) == Waiting(1)
    assert isinstance(house.take(put("京A12346"), None), Refusal)
    assert isinstance(house.take({"list": "new", "version": 1, "put": []}, None), ListChange)


def test_another_version_begins_anew() -> None:
    house = updates()
    assert house.take(put("京A12345", part=1, parts=2), 1) == Waiting(1)
    assert house.take(put("京A12346", part=2, parts=2, version=3), 1) == Waiting(1)
    taken = house.take(put("京A12347", part=1, parts=2, version=3), 1)
    assert isinstance(taken, ListChange)
    assert [one.plate for one in taken.put] == ["京A12347", "京A12346"]


def test_what_is_under_way_is_bounded() -> None:
    house = updates()
    for number in range(UNDER_WAY + 1):
        assert house.take(put("京A12345", list=f"l{number}", part=1, parts=2), 1) == Waiting(1)
    assert house.take(put("京A12345", list="l0", part=2, parts=2), 1) == Waiting(1)
    assert isinstance(house.take(put("京A12345", list=f"l{UNDER_WAY}", part=2, parts=2), 1), ListChange)


@pytest.mark.parametrize(
    ("args", "part"),
    [
        ({}, "list"),
        ({"list": ""}, "list"),
        ({"list": "a"}, "version"),
        (put(version=True), "version"),
        (put(version="x" * 65), "version"),
        (put(part=3, parts=2), "part"),
        (put(part=0), "part"),
        (put(parts=PARTS + 1), "parts"),
        (put(full="yes"), "full"),
        (put(put="x"), "put"),
        (put(put=["x"]), "put[0]"),
        (put(drop=[5]), "drop[0]"),
        (put(drop=["无牌车"]), "drop[0]"),
        (put(drop=["京A12345"] * (ENTRIES + 1)), "at most"),
        (put(put=[{"plate": "京A12345", "kind": "resident"}, {"plate": "京A12345", "kind": "x"}]), "put[1].kind"),
        (put(put=[{"plate": "京A12345", "kind": "resident", "colour": "x"}]), "put[0].colour"),
        (put(put=[{"plate": 5, "kind": "resident"}]), "put[0].plate"),
        (put(put=[{"plate": "京A12345", "kind": "resident", "gates": ["x"]}]), "put[0].gates"),
    ],
)
def test_bad_arguments_are_named(args: Mapping[str, Json], part: str) -> None:
    refused = updates().take(args, 1)
    assert isinstance(refused, Refusal)
    assert refused.held is None
    assert part in refused.message


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | st.sampled_from(["a", "京A12345"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(COLUMNS), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(["list", "base", "version", "put", "drop", "full", "part", "parts"])


@given(st.dictionaries(names, anything))
def test_any_arguments(args: dict[str, Any]) -> None:
    assert isinstance(updates().take(args, 1), ListChange | Waiting | Refusal)


def test_an_entry_names_its_mistake() -> None:
    with pytest.raises(BadEntry, match="found no text") as error:
        EntryReader(CHINA).named({"plate": "京A12345", "kind": 7})
    assert error.value.key == "kind"


def test_what_is_under_way_is_bounded_with_its_drops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_update, "HELD", 30)
    house = updates()
    drop = [f"京A{number:05}" for number in range(10)]
    for number in range(3):
        assert isinstance(
            house.take({"list": f"l{number}", "version": 2, "part": 1, "parts": 2, "drop": drop}, None), Waiting
        )
    refused = house.take({"list": "l0", "version": 2, "part": 2, "parts": 2, "drop": drop[:1]}, None)
    assert isinstance(refused, Refusal)
    assert "under way" in refused.message
    full = house.take({"list": "x", "version": 2, "full": True, "drop": drop}, None)
    assert isinstance(full, Refusal)
    assert full.message.startswith("drop")


def test_a_change_without_parts_is_given_up() -> None:
    house = updates()
    first: dict[str, Json] = {"list": "x", "version": 2, "full": True, "part": 1, "parts": 2}
    assert house.take(first, None, 10.0) == Waiting(1)
    assert house.take({**first, "part": 2}, None, 11.0 + PATIENCE_S) == Waiting(1)
    assert isinstance(house.take(first, None, 12.0 + PATIENCE_S), ListChange)


def test_a_header_of_a_million_columns_is_refused_at_once() -> None:
    begun = time.process_time()
    (found,) = problems("plate," + ",".join(f"c{n}" for n in range(1_000_000)) + "\n沪A12345\n")
    assert found[2].startswith("found 1000001 columns")
    assert time.process_time() - begun < 2.0
