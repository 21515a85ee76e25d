from collections.abc import Callable
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config.source import MAX_BYTES, MAX_DEPTH, SourceError, read

SCALARS = {
    "on": "on", "no": "no", "yes": "yes", "Off": "Off", "12:30": "12:30", "12:34:56": "12:34:56",
    "2026-11-22": "2026-11-22", "2026-11-22T01:02:03Z": "2026-11-22T01:02:03Z", "0o17": "0o17", "1_000": "1_000",
    "0b11": "0b11", "null": None, "~": None, "true": True, "False": False, "0": 0, "-7": -7, "+7": 7, "0x1F": 31,
    "1.5": 1.5, ".5": 0.5, "1e3": 1000.0, "-1.e-2": -0.01, ".inf": ".inf", ".nan": ".nan", "1e999": "1e999",
    "'1'": "1", '"true"': "true", "!!str 5": "5", "192.168.1.1": "192.168.1.1", "0x": "0x", "-": None,
}  # fmt: skip


def tree(text: str) -> dict[str, Any]:
    return read(text.encode(), "f").tree


def said(text: str | bytes) -> str:
    with pytest.raises(SourceError) as caught:
        read(text if isinstance(text, bytes) else text.encode(), "f")
    return str(caught.value.problem)


@pytest.mark.parametrize("written", [one for one in SCALARS if one != "-"])
def test_scalars_are_those_of_yaml_1_2(written: str) -> None:
    value = tree(f"a: {written}\n")["a"]
    assert value == SCALARS[written]
    assert type(value) is type(SCALARS[written])


def test_keys_stay_text() -> None:
    assert tree("on: 1\n5: 2\n0x1: 3\nnull: 4\n") == {"on": 1, "5": 2, "0x1": 3, "null": 4}


def test_leading_zero_is_refused() -> None:
    assert said("a: 0123") == "f:1:4: a: found '0123'; a number without leading zero, or text in quotes"
    assert tree("a: '0123'") == {"a": "0123"}


def test_leading_zero_in_a_secret_is_not_shown() -> None:
    assert "0815" not in said("uplink: {password: 0815}")


def test_duplicate_key_names_the_first() -> None:
    assert said("a: 1\nb:\n  c: 1\n  c: 2\n") == "f:4:3: b.c: duplicate key 'c' (first at line 3); each key once"


def test_merge_and_alias() -> None:
    text = "a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}\ne: [*x, *x]\nf: {c: 4, <<: [{b: 5}, *x]}\n"
    assert tree(text) == {
        "a": {"b": 1, "c": 2}, "d": {"c": 3, "b": 1}, "e": [{"b": 1, "c": 2}] * 2, "f": {"c": 4, "b": 5},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a: &x [*x]", "no value may contain itself"),
        ("a: *x", "without its anchor"),
        ("a: !foo 1", "tags are not allowed"),
        ("a: !!int '1'", "tags are not allowed"),
        ("a: !!python/object:os.system {}", "tags are not allowed"),
        ("a: !!set {x}", "tags are not allowed"),
        ("? [1]\n: 2", "a word as a key"),
        ("? {a: 1}\n: 2", "a word as a key"),
        ("? \n: 1", "found a value without a key"),
        ("a: 1\n---\nb: 2\n", "found a second document"),
        ("", "found nothing"),
        ("# only a comment\n", "found nothing"),
        ("- a\n", "found no mapping"),
        ("text", "found no mapping"),
        ("a:\n\tb: 1\n", "found a tab"),
        ("a: \x07", "found a control character"),
        ("a: {<<: 1}", "found << without a mapping"),
        ("a: 1" + "0" * 40, "found a number of 41 digits"),
        ("a: [1, 2", "is no valid YAML"),
        ("a: b: c", "is no valid YAML"),
    ],
)
def test_refused(text: str, what: str) -> None:
    assert what in said(text)


@pytest.mark.parametrize(
    "text", ["- " * 100_000 + "a", "[" * 1_000_000, "{a: " * 500_000, "? " * 500_000, "a: " + "[" * (MAX_DEPTH + 1)]
)
def test_depth_is_bounded(text: str) -> None:
    assert "64 levels" in said(text) or "a word as a key" in said(text)


def test_billion_laughs() -> None:
    rows = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    rows += [f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]" for n in range(9)]
    assert "250000 values" in said("\n".join(rows))


def test_many_aliases() -> None:
    assert "too many aliases" in said("a: &a x\nb: [" + ",".join(["*a"] * 10_001) + "]")


def test_too_large() -> None:
    assert "at most 4 MiB" in said(b"#" * (MAX_BYTES + 1))


@pytest.mark.parametrize(
    ("data", "place"), [(b"a: \xff", "1:4"), (b"\xff\xfea\0", "1:1"), ("西\n名: ".encode() + b"\xce\xf7", "2:4")]
)
def test_utf_8_only(data: bytes, place: str) -> None:
    assert said(data).startswith(f"f:{place}: found the byte 0x")


def test_byte_order_mark_is_no_text() -> None:
    assert read(b"\xef\xbb\xbfa: 1", "f").place(("a",), at_key=True) == (1, 1)


def test_places() -> None:
    source = read("a:\n  b: [1, 二, 3]\n  名: {d: 4}\n".encode(), "f")
    assert source.place(("a", "b", 2)) == (2, 13)
    assert source.place(("a", "名", "d")) == (3, 10)
    assert source.place(("a", "名"), at_key=True) == (3, 3)
    assert source.place(("a", "missing")) == (1, 1)
    assert source.place(("nowhere", "at", "all")) == (1, 1)
    assert source.depth(("a", "b", 7)) == 2


TREES = st.recursive(
    st.booleans()
    | st.integers(-(10**15), 10**15)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abcxyz-019", min_size=1, max_size=5), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(max_examples=50)
@given(st.dictionaries(st.text("abc-", min_size=1, max_size=6), TREES, min_size=1, max_size=5))
def test_what_is_quoted_comes_back(value: dict[str, Any]) -> None:
    text = yaml.safe_dump(value, default_style='"', allow_unicode=True)
    assert strings(tree(text.replace("!!int ", "").replace("!!bool ", ""))) == strings(value)


def strings(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: strings(value) for key, value in node.items()}
    if isinstance(node, list):
        return [strings(value) for value in node]
    return str(node).lower() if isinstance(node, bool) else str(node)


@settings(max_examples=200)
@given(st.one_of(st.binary(max_size=300), st.text(max_size=300).map(lambda text: text.encode("utf-8", "ignore"))))
def test_never_anything_but_a_source_error(data: bytes) -> None:
    outcome(read, data)


@settings(max_examples=300)
@given(
    st.lists(
        st.sampled_from(
            ["a", "b", ":", " ", "\n", "- ", "[", "]", "{", "}", "&x", "*x", "<<: ", "!t ", "'", '"', "0", "|", "?"]
        )
    )
)
def test_never_anything_but_a_source_error_on_near_yaml(parts: list[str]) -> None:
    outcome(read, "".join(parts).encode())


def outcome(function: Callable[[bytes, str], Any], data: bytes) -> None:
    problem = None
    try:
        source = function(data, "f")
    except SourceError as error:
        problem = error.problem
    if problem is None:
        assert isinstance(source.tree, dict)
        return
    assert str(problem).startswith("f:")
    assert str(problem).isprintable()
    assert min(problem.line, problem.col) >= 1
