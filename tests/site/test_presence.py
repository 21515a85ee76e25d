from gateway.model import Json, Way
from gateway.site.presence import MOST, Presence


def test_presence() -> None:
    here = Presence()
    memory: dict[str, Json] = {}
    moves: list[tuple[str | None, Way, str | None, float]] = [
        ("京A1", "in", "resident", 1.0),
        ("京A2", "in", "visitor", 2.0),
        (None, "in", None, 3.0),
        ("京A1", "out", "resident", 4.0),
        ("京A3", "out", None, 5.0),
        ("京A2", "in", "visitor", 6.0),
    ]
    for plate, way, kind, wall in moves:
        memory.update(here.moved(plate, way, kind, wall))
    assert {one.plate for one in here.inside()} == {"京A2"}
    assert here.counts() == {"visitor": 1}
    counted = {("resident", "in"): 1, ("visitor", "in"): 2, ("unknown", "in"): 1, ("resident", "out"): 1}
    assert here.passed == counted | {("unknown", "out"): 1}
    kept = {name: value for name, value in memory.items() if value is not None}
    again = Presence()
    again.restore(kept)
    assert again.inside() == here.inside()
    assert again.correct("京A2", 7.0, inside=False) == {"inside:京A2": None}
    assert again.correct("京A9", 7.0, inside=True) == {"inside:京A9": ["unknown", 7.0]}
    assert again.moved("京A9", "out", None, 3.0) == {}
    assert again.forget("京A9") == {"inside:京A9": None}
    assert again.moved("京A9", None, None, 9.0) == {}


def test_presence_is_bounded() -> None:
    here = Presence()
    for number in range(MOST):
        here.moved(str(number), "in", None, number)
    assert here.moved("last", "in", None, MOST) == {"inside:last": ["unknown", MOST], "inside:0": None}
    assert len(here.inside()) == MOST
