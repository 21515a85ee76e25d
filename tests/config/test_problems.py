from hypothesis import given
from hypothesis import strategies as st

from gateway.config.model_keys import keys, names_at
from gateway.config.problems import Problem, dotted, found, near, plain, resolve
from gateway.config.rounds import PersonItem
from gateway.config.site import GateEntry, ModbusLine, RoundEntry, SiteFile


def test_the_form_of_a_line() -> None:
    assert str(Problem("site.yaml", 3, 5, "lines.bus", "error", "found x; y")) == "site.yaml:3:5: lines.bus: found x; y"
    assert str(Problem("f", 3, 5, "a", "warning", "text")) == "f:3:5: a: warning: text"
    assert str(Problem("f", 1, 1, "", "error", "text")) == "f:1:1: text"


def test_near_names() -> None:
    assert near("baudrat", ["baudrate", "parity"]) == "; did you mean 'baudrate'?"
    assert near("NORTH", ["north"]) == "; did you mean 'north'?"
    assert near("x", ["baudrate"]) == near("", ["a"]) == near(5, ["5"]) == near("a" * 100, ["a" * 99]) == ""


def test_found_shows_little() -> None:
    assert found(True) == "found true"
    assert found({"a": 1}) == "found a mapping"
    assert found("x" * 100) == "found '" + "x" * 39 + "…'"
    assert found("mqtt://box:hunter2@host/a") == "found '…@host/a'"
    assert found("http://host/snap?user=a&pwd=hunter2") == "found 'http://host/snap?…'"


def test_nothing_below_a_secret_is_named() -> None:
    assert dotted(("uplink", "password", "hunter2")) == "uplink.password"


def test_loc_to_path() -> None:
    tree = {"points": {"x": {"write": {"fc": 5}, "values": {"0": "a"}}}, "items": [{"a": 1}]}
    assert resolve(tree, ("points", "x", "write", "<mapping>", "fc")) == ("points", "x", "write", "fc")
    assert resolve(tree, ("points", "x", "at")) == ("points", "x", "at")
    assert resolve(tree, ("points", "x", "values", 0)) == ("points", "x", "values", "0")
    assert resolve(tree, ("items", 0, "<a>", "b")) == ("items", 0, "b")
    assert resolve(tree, ("items", 7, "x", "y")) == ("items", "y")
    assert resolve(tree, ()) == ()


def test_keys_that_a_model_allows() -> None:
    assert "self" in keys(SiteFile)
    assert names_at(ModbusLine, ("baudrat",)) == keys(ModbusLine)
    assert names_at(GateEntry, ("open", "<mapping>", "relay")) == ["camera", "io"]
    assert names_at(RoundEntry, ("items", 3, "<person>", "fotos")) == keys(PersonItem)


@given(st.text())
def test_plain_is_one_short_line(text: str) -> None:
    assert plain(text).isprintable()
    assert len(plain(text)) <= 64 * 6
