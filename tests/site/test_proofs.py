"""What was shown before: kept for years in a bounded size, over restarts."""

from gateway.model import Effect, Forget, Json, Remember
from gateway.site.proofs import Proofs

ITEM, OTHER = "nightly/person:pump/room#2", "nightly/person:roof"
KNOWN = {"nightly": frozenset({"person:pump/room#2"})}


def kept(memory: dict[str, Json], *effects: Effect) -> int:
    """Characters that were written."""
    for effect in effects:
        match effect:
            case Remember(key, value):
                memory[key] = value
            case Forget(key):
                memory.pop(key, None)
    return sum(len(str(effect)) for effect in effects)


def test_a_year_of_photos_survives_and_no_answer_writes_much() -> None:
    memory: dict[str, Json] = {}
    proofs = Proofs()
    for number in range(10_000):
        written = kept(memory, *proofs.add_photo(ITEM, f"{number:320}"))
        assert written < 64 * 330
        if number in (63, 64, 366, 4096, 9_999):
            again = Proofs()
            again.restore(memory)
            assert again.photos(ITEM) == proofs.photos(ITEM)
            assert [int(mark) for mark in again.photos(ITEM)[ITEM]][-1] == number
            assert len(again.photos(ITEM)[ITEM]) >= min(number + 1, 4032)
            proofs = again
    assert sum(len(str(value)) for value in memory.values()) < 4096 * 330
    assert len(memory) == 64


def test_the_photos_of_an_item_go_with_it() -> None:
    memory: dict[str, Json] = {}
    proofs = Proofs()
    for item in (ITEM, OTHER):
        kept(memory, *proofs.add_photo(item, "m"))
    kept(memory, *proofs.add_tag("04a1", 7))
    kept(memory, *proofs.leave(dict(memory), KNOWN))
    assert proofs.photos(OTHER) == {ITEM: ("m",)}
    assert list(memory) == [f"round/photo/0/{ITEM}", "round/tag/04a1"]


def test_of_other_items_the_last_photos_are_known() -> None:
    proofs = Proofs()
    for number in range(100):
        kept({}, *proofs.add_photo(ITEM, str(number)))
    assert proofs.photos(OTHER) == {ITEM: tuple(map(str, range(36, 100)))}
    assert (proofs.given_for("36"), proofs.given_for("35"), proofs.given_for("x")) == (ITEM, None, None)


def test_of_many_tags_those_that_were_read_last_are_known() -> None:
    memory: dict[str, Json] = {}
    proofs = Proofs()
    for number in range(1500):
        kept(memory, *proofs.add_tag(f"{number}", 5))
        kept(memory, *proofs.add_tag("04a1", number))
    again = Proofs()
    again.restore(memory)
    assert not again.is_newer("04a1", 1499)
    assert not again.is_newer("1499", 5)
    assert len(memory) == 1000
