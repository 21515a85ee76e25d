"""Text from outside does nothing to a terminal."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as some

from gateway.printable import harmless, harmless_json, harmless_lines

ANY = some.text(some.characters(exclude_categories=[]))


@given(ANY)
def test_nothing_is_left_that_a_terminal_obeys(text: str) -> None:
    shown = harmless(text)
    assert shown.replace("\u3000", "").isprintable()
    shown.encode()
    assert harmless(shown) == shown


@given(some.lists(ANY, max_size=4))
def test_lines_stay_lines(lines: list[str]) -> None:
    text = "\n".join(line.replace("\n", "") for line in lines)
    assert harmless_lines(text).count("\n") == text.count("\n")
    assert harmless_lines(text).replace("\n", "").replace("\u3000", "").isprintable()


@given(some.dictionaries(ANY, ANY | some.integers(), max_size=4))
def test_json_says_the_same(value: dict[str, str | int]) -> None:
    shown = harmless_json(json.dumps(value, ensure_ascii=False, indent=2))
    assert json.loads(shown) == json.loads(json.dumps(value))
    assert shown.replace("\n", "").replace("\u3000", "").isprintable()


@pytest.mark.parametrize("text", ["3号楼2层走廊", "沪AD12345", "全角\u3000空格", "°C µ ü"])
def test_what_people_write_stays_as_it_is(text: str) -> None:
    assert harmless(text) == text
    assert harmless_json(json.dumps(text, ensure_ascii=False)) == json.dumps(text, ensure_ascii=False)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
        ("\x9b2J", r"\x9b2J"),
        ("a\nb\r", r"a\nb\r"),
        ("\u202eABC", r"\u202eABC"),
    ],
)
def test_how_it_stands_there(text: str, shown: str) -> None:
    assert harmless(text) == shown
