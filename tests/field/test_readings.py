from hypothesis import given
from hypothesis import strategies as st

from gateway.driver import Block, Decoded
from gateway.field.readings import ReadingTable
from gateway.model import Instant, Lane, Quality, Reading, Reason

A = Block("d", ("a", "b"), Lane.ALARM, 1.0, 0.01, None)
B = Block("d", ("c",), Lane.NORMAL, 10.0, 0.01, None)
BLOCKS = {"A": A, "B": B}


def at(mono: float) -> Instant:
    return Instant(mono, 1e9 + mono, synced=True)


def decode(block: Block, raw: bytes) -> dict[str, Decoded]:
    return {p: Decoded(raw[n], None, "bar", Quality.GOOD, None) for n, p in enumerate(block.points)}


def answer(table: ReadingTable, block: Block, raw: bytes, mono: float) -> dict[str, Reading]:
    if table.same(block, raw, at(mono)):
        return {}
    return dict(table.answered(block, raw, decode(block, raw), at(mono)))


def test_before_the_first_answer_everything_is_bad_and_says_why() -> None:
    table = ReadingTable([A, B], at(1))
    never = (None, None, None, Quality.BAD, Reason.NEVER_READ, at(1))
    assert table.picture() == {"a": never, "b": never, "c": never}
    assert table.untried == 2


def test_only_what_differs_is_a_change() -> None:
    table = ReadingTable([A, B], at(0))
    assert answer(table, A, b"\1\2", 1).keys() == {"a", "b"}
    assert answer(table, A, b"\1\2", 2) == {}
    changed = answer(table, A, b"\1\3", 3)
    assert changed == {"b": Reading(3, None, "bar", Quality.GOOD, None, at(3))}
    assert table.untried == 1


def test_a_picture_shows_the_time_of_the_last_answer() -> None:
    table = ReadingTable([A, B], at(0))
    answer(table, A, b"\1\2", 1)
    answer(table, A, b"\1\2", 7)
    picture = table.picture()
    assert picture["a"].at == picture["b"].at == at(7)
    assert picture["c"].at == at(0)


def test_what_was_bad_comes_back_as_a_change_with_its_own_time() -> None:
    table = ReadingTable([A, B], at(0))
    answer(table, A, b"\1\2", 1)
    lost = table.lost(Reason.SILENT, at(5))
    assert lost["a"] == (None, None, "bar", Quality.BAD, Reason.SILENT, at(5))
    assert table.lost(Reason.SILENT, at(6)) == {}
    assert table.picture()["a"].at == at(5)
    assert answer(table, A, b"\1\2", 9)["a"] == (1, None, "bar", Quality.GOOD, None, at(9))


def test_a_reason_that_changes_is_a_change() -> None:
    table = ReadingTable([A], at(0))
    answer(table, A, b"\1\2", 1)
    assert table.lost(Reason.SILENT, at(5)).keys() == {"a", "b"}
    assert table.lost(Reason.LINE_DOWN, at(6))["a"].reason is Reason.LINE_DOWN


def test_a_failed_block_leaves_the_others_alone() -> None:
    table = ReadingTable([A, B], at(0))
    answer(table, A, b"\1\2", 1)
    answer(table, B, b"\3", 1)
    assert table.failed(B, Reason.REFUSED, at(2)).keys() == {"c"}
    assert table.failed(B, Reason.REFUSED, at(3)) == {}
    assert table.picture()["a"].quality is Quality.GOOD


def test_the_bytes_of_a_reading_are_shown_if_it_is_fresh() -> None:
    table = ReadingTable([A, B], at(0))
    assert table.answers_since(["a"], 0) is None
    answer(table, A, b"\1\2", 1)
    answer(table, B, b"\3", 2)
    assert table.answers_since(["a", "c"], 1) == {A: b"\1\2", B: b"\3"}
    assert table.answers_since(["a", "c"], 1.5) is None
    assert table.answers_since(["c"], 1.5) == {B: b"\3"}
    assert table.answers_since(["a", "nothing"], 0) is None
    answer(table, A, b"\1\2", 3)
    assert table.answers_since(["a"], 3) == {A: b"\1\2"}
    table.answered_once({"a": Decoded(9, None, "bar", Quality.GOOD, None)}, at(4))
    assert table.answers_since(["a"], 3) is None, "the value is of another answer"
    table.lost(Reason.SILENT, at(5))
    assert table.answers_since(["c"], 0) is None


def test_stale_is_exact() -> None:
    table = ReadingTable([A, B], at(0))
    answer(table, A, b"\1\2", 1)
    answer(table, B, b"\3", 1)
    assert table.stale_at() == 4.0
    assert table.stale(at(3.999)) == {}
    assert table.stale(at(4.0)).keys() == {"a", "b"}
    assert table.stale_at() == 31.0
    assert table.stale(at(40.0))["c"].reason is Reason.SILENT
    assert table.stale_at() == float("inf")


def test_a_read_of_its_own_is_not_hidden_by_the_bytes_of_the_block() -> None:
    table = ReadingTable([A], at(0))
    answer(table, A, b"\1\2", 1)
    once = {"a": Decoded(9, None, "bar", Quality.GOOD, None)}
    assert table.answered_once(once, at(2)).keys() == {"a"}
    assert answer(table, A, b"\1\2", 3) == {"a": Reading(1, None, "bar", Quality.GOOD, None, at(3))}
    assert table.answered_once({"a": Decoded(1, None, "bar", Quality.GOOD, None)}, at(4)) == {}


def test_a_read_of_its_own_grows_old_too() -> None:
    table = ReadingTable([A], at(0))
    answer(table, A, b"\1\2", 1)
    table.lost(Reason.SILENT, at(5))
    table.answered_once({"a": Decoded(9, None, "bar", Quality.GOOD, None)}, at(6))
    assert table.picture()["b"].at == at(5)
    assert table.stale(at(9)).keys() == {"a"}


def test_parts_of_a_refused_block_have_to_be_tried() -> None:
    table = ReadingTable([A], at(0))
    parts = [Block("d", (p,), Lane.ALARM, 1.0, 0.01, None) for p in "ab"]
    table.replace(A, parts)
    assert table.untried == 2
    answer(table, parts[0], b"\1", 1)
    table.failed(parts[1], Reason.REFUSED, at(1))
    assert table.untried == 0
    assert {p: r.quality for p, r in table.picture().items()} == {"a": Quality.GOOD, "b": Quality.BAD}


steps = st.lists(
    st.tuples(
        st.sampled_from(["answer", "answer", "answer", "lost", "down", "refused", "stale"]),
        st.sampled_from(["A", "B"]),
        st.integers(0, 2),
        st.floats(0.1, 8.0),
    ),
    max_size=60,
)


@given(steps)
def test_a_reading_never_lies(steps: list[tuple[str, str, int, float]]) -> None:
    """Against a plain model: the changes add up to the picture, and no time is newer than its answer."""
    table = ReadingTable([A, B], at(0))
    told = table.picture()
    answered: dict[str, tuple[int, float]] = {}
    now = 0.0
    for what, which, value, wait in steps:
        now += wait
        block = BLOCKS[which]
        changed: dict[str, Reading] = {}
        if what == "answer":
            changed = answer(table, block, bytes([value] * len(block.points)), now)
            answered.update(dict.fromkeys(block.points, (value, now)))
        elif what == "refused":
            changed = dict(table.failed(block, Reason.REFUSED, at(now)))
            for point in block.points:
                answered.pop(point, None)
        elif what == "stale":
            changed = dict(table.stale(at(now)))
            for each in (A, B):
                for point in each.points:
                    if point in answered and now >= answered[point][1] + 3 * each.every:
                        answered.pop(point)
        else:
            changed = dict(table.lost(Reason.SILENT if what == "lost" else Reason.LINE_DOWN, at(now)))
            answered.clear()
        assert all(changed[p][:5] != told[p][:5] for p in changed)
        told.update(changed)
        picture = table.picture()
        assert {p: r[:5] for p, r in picture.items()} == {p: r[:5] for p, r in told.items()}
        for point, reading in picture.items():
            if point in answered:
                assert (reading.value, reading.at.mono) == answered[point]
                assert reading.quality is Quality.GOOD
            else:
                assert reading.quality is Quality.BAD
                assert reading.value is None
                assert reading.text is None
