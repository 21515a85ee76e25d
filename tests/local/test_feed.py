import zlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.local.feed import Feed, PageEvent, Tree, difference, gzip_head, merged

LEAVES = (
    st.booleans() | st.integers(-5, 5) | st.floats(-2, 2).map(lambda value: value + 0.0) | st.text("a门", max_size=3)
)
TREES = st.recursive(
    st.dictionaries(st.sampled_from("abcd"), LEAVES | st.lists(LEAVES, max_size=3), max_size=4),
    lambda inner: st.dictionaries(st.sampled_from("abcd"), LEAVES | inner, max_size=4),
    max_leaves=20,
)


def same(one: object, other: object) -> bool:
    """As JSON: 1 and true are not the same."""
    return orjson.dumps(one, option=orjson.OPT_SORT_KEYS) == orjson.dumps(other, option=orjson.OPT_SORT_KEYS)


def read(frame: PageEvent) -> tuple[str, dict[str, object]]:
    lines = dict(line.split(b": ", 1) for line in frame.text.strip().split(b"\n"))
    return lines[b"event"].decode(), orjson.loads(lines[b"data"])


class Viewer:
    """What a page does with what it is given."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.tree: Tree = {}
        self.snapshots = 0

    def look(self, feed: Feed) -> None:
        frames, number = feed.after(self.number), feed.number
        for frame in frames:
            event, data = read(frame)
            if event == "state":
                self.tree, self.snapshots = data["state"], self.snapshots + 1  # type: ignore[assignment]
            else:
                self.tree = merged(self.tree, data["patch"])  # type: ignore[arg-type]
            self.number = feed.number_of(str(data["n"]))
        assert self.number == number == feed.number


@given(TREES, TREES)
def test_a_patch_leads_from_any_tree_to_any_other(old: Tree, new: Tree) -> None:
    patch = difference(old, new)

    assert same(merged(old, patch), new)
    assert bool(patch) is not same(old, new)


@given(st.lists(st.tuples(TREES, st.booleans(), st.booleans()), max_size=40), st.integers(1, 8), st.integers(50, 600))
def test_snapshot_and_patches_are_the_state(steps: list[tuple[Tree, bool, bool]], patches: int, size: int) -> None:
    """Readers that look now and then, with a ring that some of them fall out of."""
    feed = Feed("life", patches=patches, ring_bytes=size)
    readers = [Viewer(), Viewer()]
    for parts, first, second in steps:
        feed.update(parts)
        for reader, looks in zip(readers, (first, second), strict=True):
            if looks:
                reader.look(feed)
                assert same(reader.tree, feed.tree)
    for reader in (*readers, Viewer()):
        reader.look(feed)
        assert same(reader.tree, feed.tree)


def test_a_reader_gets_what_it_has_missed_and_one_that_fell_out_everything() -> None:
    feed = Feed("life", patches=3)
    feed.update({"a": 0})
    fast, slow = Viewer(), Viewer()
    fast.look(feed)
    slow.look(feed)
    for number in range(1, 8):
        feed.update({"a": number})
        fast.look(feed)
    slow.look(feed)

    assert fast.snapshots == 1
    assert slow.snapshots == 2
    assert slow.tree == {"a": 7}


def test_nothing_new_is_no_patch() -> None:
    feed = Feed("life")

    assert feed.update({"a": {"b": 1}})
    assert not feed.update({"a": {"b": 1}})
    assert feed.update({"a": {"b": True}}), "1 and true are two values"
    assert feed.number == 2


def test_a_patch_that_is_larger_than_the_ring_is_a_snapshot() -> None:
    feed = Feed("life", ring_bytes=1000)
    feed.update({"a": 1})
    reader = Viewer()
    reader.look(feed)
    feed.update({"b": "x" * 2000})
    reader.look(feed)

    assert reader.snapshots == 2
    assert reader.tree == feed.tree


@pytest.mark.parametrize(
    "id_", [None, "", "life", "other.1", "life.2", "life.-1", "life.1.0", "life.x", "life.٣", "life." + "9" * 400]
)
def test_a_number_of_nobody_is_none(id_: str | None) -> None:
    feed = Feed("life")
    feed.update({"a": 1})

    assert feed.number_of(id_) is None
    assert feed.number_of("life.1") == 1


@given(st.lists(TREES, min_size=1, max_size=10))
def test_what_was_packed_once_fits_into_the_stream_of_any_reader(trees: list[Tree]) -> None:
    frames = [PageEvent("patch", tree) for tree in trees]
    packed = gzip_head() + b"".join(frame.deflated for frame in frames)
    again = gzip_head() + frames[-1].deflated

    assert zlib.decompressobj(31).decompress(packed) == b"".join(frame.text for frame in frames)
    assert zlib.decompressobj(31).decompress(again) == frames[-1].text


def test_an_event_is_encoded_once_for_everybody() -> None:
    feed = Feed("life")
    feed.update({"a": 1})
    feed.update({"a": 2})
    first, second = feed.after(1)[0], feed.after(1)[0]

    assert first is second
    assert first.deflated is second.deflated
    assert feed.after(None)[0] is feed.after(None)[0]


def test_nobody_looks_on() -> None:
    feed = Feed("life")
    feed.update({"a": 1})
    reader = Viewer()
    reader.look(feed)
    feed.update({"a": 2})
    feed.forget()
    reader.look(feed)

    assert reader.tree == {"a": 2}
