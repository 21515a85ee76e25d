"""Which passages are new: retries, repeats, late records; and what is kept of them."""

from dataclasses import replace
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Instant, Json, Passage
from gateway.site.access import Access, Decision, Taken
from gateway.site.confidence import BACK_DOUBTED, BACK_SURE, Scale
from gateway.site.lists import ListEntry, Lists, make
from gateway.site.presence import Presence
from gateway.site.settings import CLOCK, SCALE, AccessSettings

WALL = 1_795_305_601.0
GATE = "north-in"
RULES = AccessSettings(cameras={"lpr": GATE, "exit": "north-out"})


def listed(plate: str) -> ListEntry:
    return ListEntry(plate, "resident")


def lists(*entries: ListEntry) -> Lists:
    return Lists([make("residents", 1, entries)])


class Gatehouse:
    """A camera, its gate and the list, in time."""

    def __init__(self, *entries: ListEntry) -> None:
        self.entries = entries or (listed("京A12345"), listed("京B12345"))
        self.memory: dict[str, Json] = {}
        self.mono = 1000.0
        self.offset = WALL
        self.rules = RULES
        self.alarms: dict[str, str] = {}
        """What the camera's alarms say, by name; empty: all is well."""
        self.restart()

    def restart(self) -> None:
        self.access = Access(self.rules, lists(*self.entries))
        self.access.restore(self.memory, self.now)

    @property
    def now(self) -> Instant:
        return Instant(self.mono, self.offset + self.mono, synced=True)

    def see(self, plate: str | None = "京A12345", key: str = "", age: float | None = 0.5, **more: object) -> Taken:
        seen = None if age is None else self.now.wall - age
        passage = Passage("lpr", plate, self.now, key, "in", 95.0, seen=seen, seen_firm=True)
        taken = self.access.take(replace(passage, **more), self.now.wall)  # type: ignore[arg-type]
        self.memory.update(taken.remember)
        self.alarms |= taken.told
        return taken

    def opens(self, plate: str | None = "京A12345", key: str = "", age: float | None = 0.5, **more: object) -> bool:
        decision = self.see(plate, key, age, **more).decision
        return decision is not None and decision.decision == "opened"

    def wait(self, seconds: float) -> None:
        self.mono += seconds


Ignored = Literal["retry", "repeat"] | None


def judged(taken: Taken) -> tuple[Ignored, Decision | None]:
    return taken.ignored, taken.decision


def test_a_retry_is_nothing_new_however_late_it_comes() -> None:
    house = Gatehouse()
    assert house.opens(key="k1")
    for seconds in (0.1, 5, 100, 3600):
        house.wait(seconds)
        assert judged(house.see(key="k1")) == ("retry", None)
    house.restart()
    assert judged(house.see(key="k1")) == ("retry", None)


def test_a_repeat_is_counted_from_the_first() -> None:
    house = Gatehouse()
    assert house.opens(key="k1")
    for number in range(3):
        house.wait(3)
        assert judged(house.see(key=f"r{number}")) == ("repeat", None)
    assert house.opens("京B12345", "other")
    house.wait(1)
    assert house.opens(key="k2")


def test_cars_whose_plates_are_not_read_are_told_apart() -> None:
    house = Gatehouse()
    assert house.opens(None, "k1", direction="out")
    house.wait(0.5)
    assert house.opens(None, "k2", direction="out")
    assert judged(house.see(None, "k2", direction="out")) == ("retry", None)
    house.wait(3)
    for said in (None, "unlicensed", "无车牌", "沪AD1-345", "沪AD1-345", "沪A?????", "沪A?????"):
        assert house.opens(said, direction="out")
        house.wait(0.2)


def test_a_plate_that_was_not_read_whole_opens_for_nobody() -> None:
    """Neither as the listed plate without the gap, nor as its neighbour; in a list no such plate can stand."""
    house = Gatehouse(listed("沪AD1345"), listed("沪A12345"))
    for said in ("沪AD1-345", "沪AD1 345", "沪A1234-5", "沪A1?345", "沪A_2345", "沪A12*45", "沪A123#5", "沪A1XXX5"):
        decision = house.see(said).decision
        assert decision is not None
        assert (decision.decision, decision.reason, decision.listed) == ("denied", "unread", None)
        house.wait(1)
    assert house.opens("沪A·D1345")


def test_who_was_denied_passes_as_soon_as_he_may() -> None:
    house = Gatehouse()
    assert not house.opens(confidence=60.0)
    house.wait(2)
    assert judged(house.see(confidence=61.0)) == ("repeat", None)
    assert house.opens(confidence=98.0)
    house.wait(2)
    assert judged(house.see(confidence=98.0)) == ("repeat", None)
    house.access.opened_nothing("lpr", "京A12345")
    assert judged(house.see(confidence=60.0)) == ("repeat", None)
    assert house.opens(confidence=98.0)
    assert judged(house.see(confidence=98.0)) == ("repeat", None)


def test_a_repeat_is_known_after_a_restart() -> None:
    house = Gatehouse()
    assert house.opens(key="k1")
    house.wait(2)
    house.restart()
    assert judged(house.see(key="k2")) == ("repeat", None)
    house.wait(9)
    assert house.opens(key="k3")


def test_a_misread_and_a_right_reading_of_one_car_are_one_passage() -> None:
    house = Gatehouse()
    assert house.opens("京A72345", "k1")
    house.wait(2)
    assert judged(house.see("京A12345", "k2")) == ("repeat", None)
    house.wait(2)
    assert judged(house.see("京A72345", "k3")) == ("repeat", None)
    house.wait(2)
    assert judged(house.see("京AT2345", "k4")) == ("repeat", None)


@pytest.mark.parametrize("step", [-3e8, -3600.0, 3600.0])
def test_a_step_of_the_clock_over_restarts_loses_no_key(step: float) -> None:
    house = Gatehouse()
    for number in range(12):
        assert house.see(f"京C100{number:02}", f"k{number}", age=None).decision is not None
        house.wait(20)
        if number == 5:
            house.offset += step
        house.restart()
        for known in range(number + 1):
            assert judged(house.see(f"京C100{known:02}", f"k{known}", age=None)) == ("retry", None)


def test_cameras_do_not_share_their_repeats() -> None:
    house = Gatehouse()
    assert house.opens(key="k1")
    assert house.see(key="k1", camera="exit").decision is not None


def test_a_mark_of_history_opens_nothing_and_is_told_once() -> None:
    house = Gatehouse()
    taken = house.see(key="k1", age=500, history=True)
    assert taken.decision is not None
    assert (taken.decision.decision, taken.decision.reason, taken.decision.late) == ("no-gate", "late", True)
    assert taken.decision.list_kind == "resident"
    assert house.see(key="k1", age=500, history=True).ignored == "retry"
    assert house.see(key="k2", age=503, history=True).ignored == "repeat"
    assert house.opens(key="k3")


def test_a_record_of_what_was_told_live_is_no_second_passage() -> None:
    house = Gatehouse()
    assert house.opens(key="live", age=0)
    house.wait(300)
    assert house.see(key="record", age=301, history=True).ignored == "repeat"
    assert house.opens(key="next")


def test_an_old_time_is_late_only_from_a_camera_whose_clock_was_right() -> None:
    house = Gatehouse()
    assert house.opens(key="k1", age=400)
    house.wait(20)
    assert house.opens(key="k2", age=400)
    house.wait(20)
    assert house.opens(key="k3", age=2)
    house.wait(20)
    late = house.see(key="k4", age=61)
    assert late.decision is not None
    assert late.decision.late
    house.wait(20)
    assert house.opens(key="k5", age=59)


def test_a_clock_that_jumped_back_makes_no_car_late_for_ever() -> None:
    """Its first car is taken for a record, as one might be; then it is the clock, which is told until it is right."""
    house = Gatehouse()
    assert house.opens(key="k0")
    assert house.alarms[CLOCK] == ""
    behind = 2 * 3600.0
    late = house.see("京B12345", key="k1", age=behind).decision
    assert late is not None
    assert late.late
    for number in range(2, 9):
        house.wait(15)
        assert house.opens(key=f"k{number}", age=behind + number % 2)
        assert "7200 s behind" in house.alarms[CLOCK] or "7201 s behind" in house.alarms[CLOCK]
    house.wait(15)
    taken = house.see(key="none", age=None)
    assert taken.decision is not None
    assert taken.decision.decision == "opened", "a push without a time is live, and clears nothing"
    assert house.alarms[CLOCK] != ""
    house.restart()
    house.wait(15)
    assert house.opens(key="after", age=behind), "and so it is after a restart"
    record = house.see("京B12345", key="old", age=behind + 300).decision
    assert record is not None
    assert record.late, "a record from the memory of a camera with a wrong clock is one all the same"
    house.wait(15)
    assert house.opens(key="right")
    assert house.alarms[CLOCK] == ""


def test_a_time_that_is_not_used_is_not_told() -> None:
    house = Gatehouse()
    for number in range(3):
        house.wait(15)
        taken = house.see(key=f"k{number}", age=900)
    assert taken.passage is not None
    assert taken.passage.seen is None


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("pace", [0.02, 0.5, 1.0, 3.0])
def test_a_queue_of_old_records_opens_nothing(pace: float, *, restarts: bool) -> None:
    """However fast the camera sends it, before and after a restart; cars pass a gate every few seconds at most."""
    house = Gatehouse()
    assert house.opens(key="k0")
    house.wait(3600)
    if restarts:
        house.restart()
    ages = [3000.0 - 7.3 * number + pace * number for number in range(60)]
    for number, age in enumerate(ages):
        decision = house.see("京B12345" if number % 2 else "京A12345", key=f"r{number}", age=age).decision
        assert decision is None or decision.late
        house.wait(pace)
    assert house.opens(key="live"), "and the live one between them does"


def test_at_first_contact_the_first_counts_and_a_queue_does_not() -> None:
    house = Gatehouse()
    house.see(key="k0", age=4000)
    for number in range(1, 20):
        house.wait(0.5)
        decision = house.see(key=f"k{number}", age=4000 - 30.0 * number).decision
        assert decision is None or decision.late


def test_a_lost_clock_is_told_and_decides_nothing() -> None:
    house = Gatehouse()
    assert house.opens(key="k0")
    house.wait(15)
    assert house.opens(key="k1", age=house.now.wall - 1000.0)
    assert "lost" in house.alarms[CLOCK]


@given(
    st.floats(-1e6, 1e6).filter(lambda off: abs(off) > 65), st.lists(st.floats(10.1, 600), min_size=3, max_size=12),
    st.floats(0, 1.4),
)  # fmt: skip
def test_a_wrong_clock_costs_one_car_at_most(off: float, gaps: list[float], jitter: float) -> None:
    house = Gatehouse()
    assert house.opens(key="right")
    late = 0
    for number, gap in enumerate(gaps):
        house.wait(gap)
        decision = house.see(key=f"k{number}", age=off + jitter * (number % 2)).decision
        late += decision is not None and decision.late
    assert late <= 1


def test_a_scale_is_learnt_from_what_a_camera_sends_and_kept() -> None:
    house = Gatehouse()
    said = [(1, 100.0), (0.93, 93.0), (97, 97.0), (1, 1.0), (240, 94.12), (97, 38.04)]
    for number, (value, percent) in enumerate(said):
        house.wait(15)
        taken = house.see(key=f"k{number}", confidence=float(value))
        assert taken.passage is not None
        assert taken.passage.confidence == percent
    house.restart()
    taken = house.see(key="after", confidence=97.0)
    assert taken.passage is not None
    assert taken.passage.confidence == 38.04
    house.wait(15)
    taken = house.see(key="none", confidence=None)
    assert taken.passage is not None
    assert taken.passage.confidence is None


def judged_on(house: Gatehouse, *values: float) -> list[float | None]:
    """The percents of values that follow each other, over restarts."""
    found = []
    for value in values:
        house.wait(15)
        house.restart()
        passage = house.see(key=f"v{house.mono}", confidence=value).passage
        assert passage is not None
        found.append(passage.confidence)
    return found


def scale_alarm(house: Gatehouse) -> str:
    return house.alarms[SCALE]


def test_one_value_beyond_the_scale_opens_nothing_is_told_and_passes() -> None:
    """Nonsense, or the first word of a larger scale: until that is known, confidences are judged by the larger one."""
    house = Gatehouse()
    assert judged_on(house, *[97.0] * 30) == [97.0] * 30
    assert scale_alarm(house) == ""
    assert judged_on(house, 180.0) == [70.59]
    assert "0-255" in scale_alarm(house)
    house.wait(15)
    doubted = house.see(key="doubted", confidence=97.0)
    assert doubted.decision is not None
    assert (doubted.decision.decision, doubted.decision.reason) == ("denied", "low-confidence")
    assert judged_on(house, *[97.0] * (BACK_DOUBTED - 2)) == [38.04] * (BACK_DOUBTED - 2)
    assert "0-255" in scale_alarm(house)
    assert judged_on(house, 97.0, 97.0) == [97.0, 97.0]
    assert scale_alarm(house) == ""
    assert house.opens(key="again", confidence=97.0) or house.opens("京B12345", "other", confidence=97.0)


def test_a_scale_that_many_values_showed_is_left_after_many_and_told_before() -> None:
    house = Gatehouse()
    assert judged_on(house, 240.0, 230.0, 250.0) == [94.12, 90.2, 98.04]
    assert scale_alarm(house) == ""
    assert judged_on(house, *[97.0] * (BACK_DOUBTED - 1)) == [38.04] * (BACK_DOUBTED - 1)
    assert scale_alarm(house) == "", "a few bad pictures say nothing about the scale"
    assert judged_on(house, 240.0, *[97.0] * BACK_DOUBTED) == [94.12, *[38.04] * BACK_DOUBTED]
    assert "0-255" in scale_alarm(house)
    rest = BACK_SURE - BACK_DOUBTED
    assert judged_on(house, *[97.0] * rest) == [38.04] * (rest - 1) + [97.0]
    assert scale_alarm(house) == ""


def test_a_scale_of_fractions_comes_back_too_and_whole_ones_never_lead_to_it() -> None:
    house = Gatehouse()
    assert judged_on(house, 0.97, 0.95, 0.9, 42.0) == [97.0, 95.0, 90.0, 42.0]
    assert judged_on(house, *[0.97] * BACK_DOUBTED) == [0.97] * (BACK_DOUBTED - 1) + [97.0]
    other = Gatehouse()
    assert judged_on(other, 97.0, *[1.0, 0.0] * 50) == [97.0, *[1.0, 0.0] * 50]


@given(
    st.lists(st.sampled_from([0.0, 0.5, 0.97, 1.0, 40.0, 97.0, 100.0, 101.0, 180.0, 255.0]), min_size=1, max_size=60)
)
def test_no_value_is_judged_higher_than_by_the_smallest_scale_that_holds_it(values: list[float]) -> None:
    """And one that came behind a larger one never at once by a smaller scale than that."""
    scale = Scale()
    last = 0.0
    for value in values:
        percent = scale.percent(value)
        assert percent is not None
        assert percent <= round(value / min(top for top in (1.0, 100.0, 255.0) if value <= top) * 100.0, 2)
        if last > 100.0:
            assert percent == round(value / 255.0 * 100.0, 2)
        last = value
        restored = Scale()
        restored.restore(scale.state())
        assert restored == scale


@pytest.mark.parametrize(
    ("top", "value", "percent"), [(100.0, 1.0, 1.0), (1.0, 0.5, 50.0), (255.0, 51.0, 20.0), (1.0, 93.0, None)]
)
def test_a_scale_of_the_file_is_not_learnt(top: float, value: float, percent: float | None) -> None:
    house = Gatehouse()
    house.rules = replace(RULES, scales={"lpr": top})
    house.restart()
    taken = house.see(confidence=value)
    assert taken.passage is not None
    assert taken.passage.confidence == percent


@pytest.mark.parametrize(("age", "firm"), [(None, True), (500.0, False), (WALL - 946_684_800.0, True), (-3.2, True)])
def test_no_mark_and_no_usable_time_is_live(age: float | None, firm: bool) -> None:
    house = Gatehouse()
    assert house.opens(key="k1", age=0)
    house.wait(20)
    assert house.opens(key="k2", age=age, seen_firm=firm)


@pytest.mark.parametrize("step", [3600.0, -3600.0, 3.2e8])
def test_a_step_of_our_own_clock_makes_nothing_late(step: float) -> None:
    house = Gatehouse()
    right = house.offset
    assert house.opens(key="k0", age=1)
    house.wait(20)
    house.offset += step
    for number in range(3):
        house.wait(20)
        seen = right + house.mono
        assert house.opens(key=f"k{number + 1}", seen=seen)


def test_without_anything_that_tells_it_only_the_window_counts() -> None:
    house = Gatehouse()
    for _ in range(3):
        assert house.opens(key="", age=None)
        assert house.see(key="", age=None).ignored == "repeat"
        house.wait(11)


def test_what_is_remembered_is_bounded_and_can_be_forgotten() -> None:
    house = Gatehouse()
    for number in range(1000):
        house.see(f"京C{number:05}", f"k{number}")
    assert len(house.memory) == 256 + 1, "and the camera's clock"
    assert len(house.access.known("京C00999")) == 1
    kept = house.access.forget("京C00999")
    assert [name for name, value in house.memory.items() if "京C00999" in str(value)] == [*kept]
    assert "京C00999" not in str(kept)
    house.memory.update(kept)
    assert house.access.known("京C00999") == []
    assert house.see("京C00999", "k999").ignored == "retry", "its key still is known"
    house.restart()
    assert house.see("京C00999", "k999").ignored == "retry"
    assert house.see("京C00999", "another").ignored is None


spoilt = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, min_size=6, max_size=6),
    max_leaves=6,
)
names = st.sampled_from(["passage:lpr:1", "passage:lpr:x", "x", "passage::9999", "inside:a"])


@given(st.dictionaries(names, spoilt))
def test_a_spoilt_memory_is_no_end(memory: dict[str, Json]) -> None:
    house = Gatehouse()
    house.access.restore(memory, house.now)
    Presence().restore(memory)
    assert house.see().decision is not None
