"""The lists of plates on disk, and the worker that loads and changes them."""

import asyncio
import hashlib
import json
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import Clock
from gateway.cloud.journal.history import Erased
from gateway.errors import ConfigError, NotDone, StoreError
from gateway.intake.list_folder import ListFolder
from gateway.intake.lists import LISTS, PlateLists
from gateway.model import Input, Instant, ListReady, OwnHealth, Passage, Perform
from gateway.settings.types import ListSettings
from gateway.site.list_file import MAGIC, decode, encode, file_name, peek
from gateway.site.lists import ALWAYS, KINDS, ListEntry, PlateList, make

GATES = frozenset({"north-in", "north-out"})
CSV = "plate,kind,from,until,gates,note\n鄂A12345,resident,,,,3-2-501\n鄂A54321,visitor,2026-11-22,,north-in,\n"
ENTRIES = (
    ListEntry("鄂A12345", "resident", note="3-2-501"),
    ListEntry("鄂A54321", "visitor", 1_795_305_600, ALWAYS, frozenset({"north-in"})),
    ListEntry("鄂A54321", "blocked"),
    ListEntry("WX123456789", "staff", note="too long for a column"),
)


class House:
    """A store, a site file's CSV, and one gateway after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "store" / "lists"
        self.folder.parent.mkdir(exist_ok=True)
        self.csv = folder / "residents.csv"
        self.named: tuple[Path, ...] = (self.csv,)
        self.start()

    def start(self) -> None:
        self.inputs: list[Input] = []
        settings = ListSettings(self.folder, self.named, ZoneInfo("Asia/Shanghai"), GATES)
        self.lists = PlateLists(settings, self, Clock())

    async def put(self, item: Input) -> None:
        self.inputs.append(item)

    async def hand_in(self, passage: Passage) -> None:
        self.inputs.append(passage)

    async def boot(self) -> list[ListReady]:
        self.start()
        await self.lists.load()
        return self.ready()

    def ready(self) -> list[ListReady]:
        return [item for item in self.inputs if isinstance(item, ListReady)]

    def health(self) -> tuple[bool, str]:
        (item,) = [item for item in self.inputs if isinstance(item, OwnHealth)]
        assert item.alarm == LISTS
        return item.well, item.detail

    async def update(self, order: str = "o1", **args: Any) -> Any:
        act = Perform(order, "access.update", args, "li")
        return await self.lists.errands(Events())["access.update"](act)

    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


class Events:
    """Of a journal that knows nothing of any plate."""

    async def erase(self, _plate: str) -> Erased:
        return Erased(5, 2)

    async def naming(self, _plate: str) -> Sequence[bytes]:
        return ()


@pytest.fixture
def house(tmp_path: Path) -> House:
    home = House(tmp_path)
    home.csv.write_text(CSV, encoding="utf-8")
    return home


def plates(item: ListReady) -> set[str]:
    assert isinstance(item.list, PlateList)
    return {entry.plate for entry in item.list}


# ---- the file -------------------------------------------------------------------------------------


def test_a_list_is_the_same_after_it_was_stored() -> None:
    stored = make("residents", "v-7", ENTRIES)
    data = encode(stored, 3, "abc", "wang")
    head, found = decode(data)
    assert head == peek(data[:4096]) == ("residents", "v-7", 3, "abc", "wang")
    assert sorted(found) == sorted(stored)
    assert found.find("鄂A54321") == stored.find("鄂A54321")
    assert (found.name, found.version, len(found)) == ("residents", "v-7", 4)


def test_every_damage_is_noticed() -> None:
    data = encode(make("residents", 1, ENTRIES), 1, None)
    chance = random.Random(3)  # noqa: S311 - repeatable on purpose
    for _ in range(300):
        spoilt = bytearray(data)
        spoilt[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        with pytest.raises(ValueError, match=r"damaged|no list"):
            decode(bytes(spoilt))
    for length in range(0, len(data), 7):
        with pytest.raises(ValueError, match=r"damaged|no list"):
            decode(data[:length])


@given(st.text(max_size=63), st.text(min_size=1, max_size=200) | st.integers(0, 1 << 62))
def test_no_name_leaves_the_folder(name: str, version: str | int) -> None:
    found = file_name(name, version)
    assert Path(found).name == found
    assert found not in (".", "..")
    assert len(found.encode()) <= 255


# ---- the start ------------------------------------------------------------------------------------


async def test_a_new_csv_is_stored_and_told_and_then_stands(house: House) -> None:
    (first,) = await house.boot()
    assert (first.name, first.by, first.order, first.detail) == ("residents", "file", "", "")
    assert plates(first) == {"鄂A12345", "鄂A54321"}
    assert house.health() == (True, "")
    assert len(house.files()) == 1
    (second,) = await house.boot()
    assert (second.by, second.detail) == ("store", "")
    assert plates(second) == plates(first)


async def test_a_csv_that_changed_replaces_what_was_stored(house: House) -> None:
    await house.boot()
    await house.update(list="residents", base=house.lists._desk.held("residents"), version=2, drop=["鄂A12345"])  # noqa: SLF001
    (stored,) = await house.boot()
    assert (stored.by, plates(stored)) == ("store", {"鄂A54321"}), "an update outlives the file that did not change"
    house.csv.write_text(CSV + "鄂A00001,staff,,,,\n", encoding="utf-8")
    (changed,) = await house.boot()
    assert (changed.by, plates(changed)) == ("file", {"鄂A12345", "鄂A54321", "鄂A00001"})


async def test_a_csv_with_mistakes_leaves_the_stored_list_and_says_so(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    await house.boot()
    house.csv.write_text(CSV + "鄂A00001,residnet,,,,\n鄂A00002,鄂A00003,,,,\n", encoding="utf-8")
    (stands,) = await house.boot()
    assert plates(stands) == {"鄂A12345", "鄂A54321"}
    well, detail = house.health()
    assert not well
    assert "residents.csv: line 4: kind: found 'residnet'" in detail
    assert "did you mean 'resident'" in detail
    assert "line 5" in detail
    assert "A00003" not in detail + "".join(capsys.readouterr())


async def test_without_a_usable_list_the_others_come_into_force(house: House, tmp_path: Path) -> None:
    house.named = (tmp_path / "gone.csv", house.csv)
    gone, residents = await house.boot()
    assert gone.list is None
    assert "gone.csv cannot be read: No such file" in gone.detail
    assert plates(residents) == {"鄂A12345", "鄂A54321"}
    assert house.health() == (False, "gone: gone.csv cannot be read: No such file or directory")


async def test_a_damaged_list_falls_back_to_the_version_before(house: House) -> None:
    await house.boot()
    for version in (2, 3):
        held = house.lists._desk.held("residents")  # noqa: SLF001
        await house.update(list="residents", base=held, version=version, put=[entry(f"鄂A0000{version}")])
    assert house.files() == ["residents.2", "residents.3"], "the version before is kept, and no other"
    spoil(house.folder / "residents.3")
    (found,) = await house.boot()
    assert plates(found) == {"鄂A12345", "鄂A54321", "鄂A00002"}
    assert not house.health()[0]
    assert "residents.3: is damaged" in house.health()[1]
    await house.boot()
    assert house.health() == (True, ""), "it was set aside"


async def test_a_damaged_list_without_another_falls_back_to_the_csv(house: House) -> None:
    await house.boot()
    (name,) = house.files()
    (house.folder / name).write_bytes(b"")
    (found,) = await house.boot()
    assert (found.by, plates(found)) == ("file", {"鄂A12345", "鄂A54321"})
    assert "is no list of this version" in house.health()[1]


async def test_a_stray_file_is_set_aside(house: House) -> None:
    await house.boot()
    (house.folder / "notes.txt").write_text("hello")
    await house.boot()
    assert house.health() == (False, "lists/notes.txt is no list of plates")
    await house.boot()
    assert house.health() == (True, "")


async def test_a_csv_that_the_site_file_does_not_name_any_more_lets_nobody_in(house: House) -> None:
    await house.boot()
    await house.update(list="by-hand", version=1, put=[entry("鄂A77777")])
    house.named = ()
    (by_hand,) = await house.boot()
    assert by_hand.name == "by-hand"


async def test_a_store_that_cannot_be_written_keeps_nobody_out(house: House) -> None:
    house.folder.write_text("this is no folder")
    (found,) = await house.boot()
    assert plates(found) == {"鄂A12345", "鄂A54321"}
    assert "it could not be saved" in house.health()[1]
    with pytest.raises(NotDone, match="the list cannot be saved") as error:
        await house.update(list="by-hand", version=1, put=[entry("鄂A77777")])
    assert error.value.code == "interlocked"
    assert house.ready()[-1] is found, "what could not be saved is not in force"


async def test_a_power_cut_leaves_a_whole_list(house: House) -> None:
    await house.boot()
    (house.folder / "residents.99.part").write_bytes(b"half a li")
    (found,) = await house.boot()
    assert len(plates(found)) == 2
    assert house.health() == (True, "")


# ---- changes --------------------------------------------------------------------------------------


def entry(plate: str) -> dict[str, Any]:
    return {"plate": plate, "kind": "visitor"}


def spoil(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-40] ^= 1
    path.write_bytes(bytes(data))


async def test_a_change_is_in_force_before_it_is_answered(house: House) -> None:
    await house.boot()
    said = await house.update("o7", list="visitors", version="v1", full=True, put=[entry("鄂A1"), entry("鄂B11111")])
    assert said == {"list": "visitors", "version": "v1", "lines": 2}
    ready = house.ready()[-1]
    assert (ready.name, ready.order, ready.by) == ("visitors", "o7", "li")
    delta = await house.update(list="visitors", base="v1", version="v2", drop=["鄂b·11111"])
    assert delta["lines"] == 1
    (_, again) = await house.boot()
    assert (again.name, plates(again)) == ("visitors", {"鄂A1"})


async def test_a_wrong_base_is_refused_with_the_version_held(house: House) -> None:
    await house.boot()
    await house.update(list="visitors", version=7, full=True, put=[entry("鄂A11111")])
    known = len(house.inputs)
    with pytest.raises(NotDone, match="held: 7") as error:
        await house.update(list="visitors", base=6, version=8, put=[])
    assert error.value.code == "bad-args"
    with pytest.raises(NotDone, match=r"put\[0\].kind"):
        await house.update(list="visitors", base=7, version=8, put=[{"plate": "鄂A1", "kind": "friend"}])
    assert len(house.inputs) == known


async def test_the_lines_of_all_lists_are_bounded(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await house.boot()
    monkeypatch.setattr("gateway.intake.lists.LINES", 3)
    await house.update(list="visitors", version=7, full=True, put=[entry("鄂A11111")])
    with pytest.raises(NotDone, match="all lists together"):
        await house.update(list="staff", version=1, full=True, put=[entry("鄂A22222")])
    await house.update(list="visitors", base=7, version=8, put=[], drop=["鄂A11111"])


async def test_parts_count_when_all_are_there(house: House) -> None:
    await house.boot()
    known = len(house.inputs)
    parts: list[Any] = [
        {"part": number, "put": [entry(f"鄂C{number}{place:04}") for place in range(50)]} for number in range(1, 5)
    ]
    for number, one in enumerate(parts[:-1]):
        said = await house.update(list="big", version=1, full=True, parts=4, **one)
        assert said["missing"] == 3 - number
    assert len(house.inputs) == known
    assert (await house.update(list="big", version=1, full=True, parts=4, **parts[-1]))["lines"] == 200


async def test_changes_at_once_take_turns(house: House) -> None:
    await house.boot()
    async with asyncio.TaskGroup() as group:
        for number in range(10):
            group.create_task(
                house.update(list=f"list-{number}", version=1, full=True, put=[entry("鄂A11111")]), name="update"
            )
    assert {item.name for item in house.ready()} == {"residents", *(f"list-{number}" for number in range(10))}


async def test_there_are_not_any_number_of_lists(house: House) -> None:
    await house.boot()
    for number in range(31):
        await house.update(list=f"list-{number}", version=1, full=True, put=[])
    with pytest.raises(NotDone, match="32 lists"):
        await house.update(list="one-more", version=1, full=True, put=[])


# ---- forget and export ----------------------------------------------------------------------------


async def test_forget_reaches_every_version_on_disk(house: House) -> None:
    await house.boot()
    held = house.lists._desk.held("residents")  # noqa: SLF001
    await house.update(list="residents", base=held, version=2, put=[entry("鄂A99999")])
    forget = house.lists.errands(Events())["access.forget"]
    said = await forget(Perform("o9", "access.forget", {"plate": "鄂A12345"}, "li"))
    assert said == {"lists": ["residents"], "csv": ["residents.csv"], "events": 5, "pictures": 2}
    ready = house.ready()[-1]
    assert (ready.order, plates(ready)) == ("o9", {"鄂A54321", "鄂A99999"})
    assert house.files() == ["residents.2"]
    (found,) = await house.boot()
    assert "鄂A12345" not in plates(found), "the CSV did not change, so what is stored stands"


async def test_forget_says_what_it_could_not_do(house: House) -> None:
    await house.boot()

    class Broken(Events):
        async def erase(self, _plate: str) -> Erased:
            raise StoreError("no disk")

    forget = house.lists.errands(Broken())["access.forget"]
    with pytest.raises(NotDone, match="not yet out of the events: no disk"):
        await forget(Perform("o9", "access.forget", {"plate": "鄂A12345"}, "li"))


async def test_an_export_adds_the_events(house: House) -> None:
    events = [orjson.dumps({"id": str(n), "type": "t", "time": "then", "data": {"n": n}}) for n in range(600)]

    class Known(Events):
        async def naming(self, plate: str) -> Sequence[bytes]:
            assert plate == "鄂A12345"
            return events

    export = house.lists.errands(Known())["access.export"]
    said: Any = await export(Perform("o", "access.export", {"plate": "鄂A12345", "kept": {"lists": []}}, "li"))
    assert (said["lists"], said["more"], len(said["events"])) == ([], 100, 500)
    assert said["events"][-1] == {"type": "t", "time": "then", "data": {"n": 599}}


# ---- people and cameras ---------------------------------------------------------------------------


async def test_an_import_by_parts_from_somebody_on_site(house: House) -> None:
    await house.boot()
    for part in (1, 2):
        said: Any = await house.lists.imported(
            {"ask": "access.import", "by": "wang", "list": "residents", "version": "new", "part": part, "parts": 2,
             "put": [entry(f"鄂D0000{part}")]}
        )  # fmt: skip
    assert said["lines"] == 2
    assert (house.ready()[-1].by, house.ready()[-1].order) == ("wang", "")
    with pytest.raises(ConfigError, match="version"):
        await house.lists.imported({"ask": "access.import", "by": "wang", "list": "residents"})
    (stands,) = await house.boot()
    assert plates(stands) == {"鄂D00001", "鄂D00002"}


async def test_what_was_imported_while_nobody_ran_is_told_once(house: House) -> None:
    await house.boot()
    folder = ListFolder(house.folder)
    folder.save(make("residents", "x", [ListEntry("鄂E00001", "resident")]), folder.csv_of("residents"), "wang")
    (first,) = await house.boot()
    assert (first.by, plates(first)) == ("wang", {"鄂E00001"})
    (second,) = await house.boot()
    assert second.by == "store"


async def test_a_passage_waits_at_the_door_until_the_lists_are_in_force(house: House) -> None:
    house.start()
    passage = Passage("lpr", "鄂A12345", Instant(0.0, 0.0, synced=True), "k")

    async def camera() -> None:
        await house.lists.hand_in(passage)

    async with asyncio.TaskGroup() as group:
        group.create_task(camera(), name="camera")
        await asyncio.sleep(0)
        assert house.inputs == []
        await house.lists.load()
    assert [type(item).__name__ for item in house.inputs] == ["ListReady", "OwnHealth", "Passage"]


async def test_the_loop_goes_on_while_a_list_is_read(house: House) -> None:
    rows = "".join(f"鄂{chr(65 + n // 10000 % 20)}{n % 100000:05},resident,,,,\n" for n in range(20_000))
    house.csv.write_text("plate,kind,from,until,gates,note\n" + rows, encoding="utf-8")
    turns = 0
    async with asyncio.TaskGroup() as group:
        task = group.create_task(house.lists.load(), name="load")
        begun = time.monotonic()
        while not task.done() and time.monotonic() - begun < 20:
            await asyncio.sleep(0.001)
            turns += 1
    assert turns > 10
    (ready,) = house.ready()
    assert isinstance(ready.list, PlateList)
    assert len(ready.list) == 20_000


ABSURD = st.one_of(
    st.sampled_from((-1, 0, 1, 2**31, 2**63, 10**300, 1e308, float("nan"), None, "", "x" * 300, [], {}, [[]], True)),
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    ),
)
HEAD = ("name", "version", "number", "csv", "by", "order", "rows", "notes", "shapes", "extra")


@given(key=st.sampled_from(HEAD), value=ABSURD)
def test_a_head_that_says_what_cannot_be_is_no_list(key: str, value: object) -> None:
    """Though its checksum is right: whoever can write the file can do that sum too."""
    stored = make("residents", 1, [ListEntry("沪A12345", "resident", note="x"), ListEntry("沪A1234", "visitor")])
    data = encode(stored, 3, "abc")[len(MAGIC) : -16]
    head, _, body = data.partition(b"\n")
    changed = MAGIC + json.dumps({**json.loads(head), key: value}).encode() + b"\n" + body
    changed += hashlib.blake2b(changed, digest_size=16).digest()
    try:
        known, found = decode(changed)
    except ValueError:
        return
    assert isinstance(known.number, int)
    for entry in found:
        assert entry.kind in KINDS
    found.find("沪A12345")


@pytest.mark.parametrize("head", [b"[" * 100_000, b'{"name":' * 50_000, b"9" * 10_000, b"\xff" * 100])
def test_a_head_of_absurd_depth_or_length_is_none(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "residents.1").write_bytes(MAGIC + head + b"\n")
    assert ListFolder(tmp_path).newest("residents").found is None
