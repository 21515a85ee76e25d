import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.site.plates import (
    CONFUSABLE,
    KINDS,
    NO_PLATE,
    PROVINCES,
    UNREAD,
    classify,
    kind_of,
    normalise,
    spellings,
)


@pytest.mark.parametrize(
    ("raw", "text", "kind"),
    [
        ("鄂A·12345", "鄂A12345", "ordinary"),
        ("鄂a-12345", "鄂A12345", "ordinary"),
        ("鄂A . 12345", "鄂A12345", "ordinary"),
        ("沪A·D1345", "沪AD1345", "ordinary"),
        ("沪A D1345", "沪AD1345", "ordinary"),
        ("沪A-12345", "沪A12345", "ordinary"),
        ("蓝 沪A·12345", "沪A12345", "ordinary"),
        ("粤Z·9065澳", "粤Z9065澳", "macau"),
        ("WJ京·12345", "WJ京12345", "wj"),
        ("WJ·京12345", "WJ京12345", "wj"),
        ("VA·12345", "VA12345", "military"),
        ("民航·A1234", "民航A1234", "civil-aviation"),
        ("京·X1234应急", "京X1234应急", "emergency"),
        ("沪AD1-345", "沪AD1?345", "other"),
        ("沪AD1·345", "沪AD1?345", "other"),
        ("沪AD1 345", "沪AD1?345", "other"),
        ("沪A--12345", "沪A??12345", "other"),
        ("沪A?12345", "沪A?12345", "other"),
        ("沪A_12345", "沪A?12345", "other"),
        ("沪A*D1345", "沪A?D1345", "other"),
        ("沪A#12345", "沪A?12345", "other"),
        ("沪A12345-", "沪A12345?", "other"),
        ("-沪A12345", "?沪A12345", "other"),
        ("沪·A12345", "沪?A12345", "other"),
        ("沪A·123·45", "沪A?123?45", "other"),
        ("沪A1234?警", "沪A1234?警", "other"),
        ("沪AXXX45", "沪A???45", "other"),
        ("沪A12\u200b345", "沪A12345", "ordinary"),
        ("沪A12\ufffd45", "沪A12?45", "other"),
        ("鄂Ａ１２３４５", "鄂A12345", "ordinary"),
        ("鄂A1O3I5", "鄂A10315", "ordinary"),
        ("鄂O12345", "鄂O12345", "ordinary"),
        ("蓝鄂A12345", "鄂A12345", "ordinary"),
        ("黄绿鄂A12345D", "鄂A12345D", "new-energy"),
        ("粤BF12345", "粤BF12345", "new-energy"),
        ("京A12345D", "京A12345D", "new-energy"),
        ("京A12345F", "京A12345F", "new-energy"),
        ("京AA12345", "京AA12345", "new-energy"),
        ("京AK12345", "京AK12345", "new-energy"),
        ("京ADB2345", "京ADB2345", "new-energy"),
        ("京AL12345", "京AL12345", "other"),
        ("京ADBB345", "京ADBB345", "other"),
        ("京ADI2345", "京AD12345", "new-energy"),
        ("京A1234警", "京A1234警", "police"),
        ("京O1234警", "京O1234警", "police"),
        ("京A1234学", "京A1234学", "learner"),
        ("京A1234學", "京A1234学", "learner"),
        ("京A1234挂", "京A1234挂", "trailer"),
        ("粤Z9065澳", "粤Z9065澳", "macau"),
        ("粤ZABCD港", "粤ZABCD港", "hong-kong"),
        ("粤A1234港", "粤A1234港", "other"),
        ("沪A1234领", "沪A1234领", "consulate"),
        ("使123456", "使123456", "embassy"),
        ("使·014578", "使014578", "embassy"),
        ("京A1234使", "京A1234使", "embassy"),
        ("沪A1234使", "沪A1234使", "other"),
        ("WJ京12345", "WJ京12345", "wj"),
        ("WJ京1234X", "WJ京1234X", "wj"),
        ("WJ鲁1234", "WJ鲁1234", "wj"),
        ("WJ12345", "WJ12345", "wj"),
        ("WJ京O1234", "WJ京01234", "wj"),
        ("VA12345", "VA12345", "military"),
        ("VO12345", "VO12345", "military"),
        ("VA1O345", "VA10345", "military"),
        ("民航12345", "民航12345", "civil-aviation"),
        ("民航A1234", "民航A1234", "civil-aviation"),
        ("京X1234应急", "京X1234应急", "emergency"),
        ("京S·1234應急", "京S1234应急", "emergency"),
        ("京X123应急", "京X123应急", "other"),
        ("1AB2345", "1AB2345", "other"),
        ("IO", "IO", "other"),
        ("2026-11-22 08:00:01 CAM 01", "2026?11?22?08?00?01?CAM?01", "other"),
        ("停车场", "停车场", "other"),
    ],
)
def test_kinds(raw: str, text: str, kind: str) -> None:
    found = classify(raw)
    assert found is not None
    assert (found.text, found.kind) == (text, kind)


@pytest.mark.parametrize(
    "word", sorted({word for words in NO_PLATE.values() for word in words} | {"", " ", "·", "_", "___"})
)
def test_words_for_no_plate(word: str) -> None:
    for spelt in (word, word.upper(), f"  {word} ", word.title()):
        assert classify(spelt) is None
        assert normalise(spelt) == ""


def test_none_is_no_plate_and_so_is_what_the_camera_calls_none() -> None:
    assert classify(None) is None
    assert classify("京A12345", told="none") is None


@pytest.mark.parametrize(
    ("raw", "colour", "told", "kind", "sure"),
    [
        ("京A12345", "blue", None, "ordinary", True),
        ("京A12345", "yellow", None, "ordinary", True),
        ("京A12345", "green", None, "other", False),
        ("京A12345", "white", None, "other", False),
        ("京AD12345", "green", None, "new-energy", True),
        ("京A12345D", "yellow-green", None, "new-energy", True),
        ("京AD12345", "blue", None, "other", False),
        ("京A1234警", "white", None, "police", True),
        ("京A1234警", "blue", None, "other", False),
        ("京X1234应急", "white", None, "emergency", True),
        ("京X1234应急", "yellow", None, "other", False),
        ("粤Z1234澳", "black", None, "macau", True),
        ("VA12345", None, None, "military", False),
        ("VA12345", "white", None, "military", True),
        ("VA12345", None, "military", "military", True),
        ("VA12345", "blue", "military", "other", False),
        ("WJ12345", None, None, "wj", False),
        ("WJ京12345", None, None, "wj", True),
        ("京A12345", "blue", "fake", "other", False),
        ("京A12345", "blue", "police", "ordinary", True),
        ("蓝京A1234警", None, None, "other", False),
    ],
)
def test_kind_and_colour_are_checked_against_each_other(
    raw: str, colour: str | None, told: str | None, kind: str, sure: bool
) -> None:
    found = classify(raw, colour, told)
    assert found is not None
    assert (found.kind, found.sure) == (kind, sure)


@given(st.text(max_size=80))
@settings(max_examples=1000)
def test_normalising_twice_changes_nothing_more(raw: str) -> None:
    once = normalise(raw)
    assert normalise(once) == once
    assert once.encode("utf-8", "strict") is not None or not once


shaped = st.builds(
    lambda province, agency, serial, mark: province + agency + serial + mark,
    st.sampled_from(PROVINCES),
    st.sampled_from("ABCDEFGHJKLMNOPQRSTUVWXYZ"),
    st.text(alphabet="0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=4, max_size=6),
    st.sampled_from(["", "警", "学", "挂", "领", "应急"]),
)


@given(
    shaped.filter(lambda plate: kind_of(normalise(plate)) != "other"),
    st.sampled_from(["·", " ", "-", "．", ""]),
    st.booleans(),
)
@settings(max_examples=500)
def test_dress_changes_nothing(plate: str, separator: str, wide: bool) -> None:
    dressed = f"{plate[:2]}{separator}{plate[2:]}".lower()
    if wide:
        dressed = "".join(chr(ord(one) + 0xFEE0) if "!" <= one <= "~" else one for one in dressed)
    assert normalise(dressed) == normalise(plate)
    assert classify(dressed) == classify(plate)


marks = st.sampled_from(
    ["?", "_", "*", "#", "-", "？", "＊", "－", "　", "·", " ", ".", "/", "|", "\ufffd", "□", "--", "??"]
)


@given(shaped, marks, st.integers(0, 9), st.booleans())
@settings(max_examples=1000)
def test_a_sign_for_an_unread_character_is_never_dropped(plate: str, mark: str, place: int, instead: bool) -> None:
    """Whether it stands in place of a character or between two; but for the one place of a separator."""
    place = min(place, len(plate))
    said = plate[:place] + mark + plate[place + instead :]
    if not said.strip() or said.strip() != said or "XXX" in plate:
        return
    is_separator = mark in ("-", "－", "　", "·", " ", ".") and (place == 2 or (place == 1 and mark == "·"))
    found = classify(said)
    assert found is not None
    if is_separator and UNREAD not in found.text:
        assert found.text == normalise(said[:place] + said[place + 1 :])
        return
    assert UNREAD in found.text
    assert not found.whole
    assert found.kind == "other"


def test_a_maker_may_say_what_it_writes_for_an_unread_character() -> None:
    found = classify("沪A-12345", blanks="-")
    assert found is not None
    assert (found.text, found.whole) == ("沪A?12345", False)


def test_two_x_in_a_row_are_doubted() -> None:
    found = classify("沪AXX345")
    assert found is not None
    assert (found.text, found.kind, found.whole) == ("沪AXX345", "ordinary", False)


@given(shaped)
@settings(max_examples=500)
def test_no_serial_has_i_or_o(plate: str) -> None:
    found = classify(plate)
    assert found is not None
    assert found.kind in KINDS
    if found.kind != "other":
        assert not set("IO") & set(found.text[2:])
        assert kind_of(found.text) == found.kind


def test_the_table_of_confusable_characters_is_mutual() -> None:
    for one, others in CONFUSABLE.items():
        assert one not in others
        assert all(one in CONFUSABLE[other] for other in others)
    assert set(CONFUSABLE["0"]) == set("OQDUGB")
    assert set(CONFUSABLE["7"]) == set("T1")


@given(shaped)
def test_spellings_differ_in_one_character(plate: str) -> None:
    text = normalise(plate)
    for spelt in spellings(text):
        assert len(spelt) == len(text)
        assert sum(one != other for one, other in zip(spelt, text, strict=True)) == 1
        assert text in spellings(spelt)


def test_long_texts_cost_little() -> None:
    chance = random.Random(2)  # noqa: S311 - repeatable on purpose
    texts = ["".join(chance.choices("京A1·_ －", k=100_000)) for _ in range(20)]
    begun = time.process_time()
    for text in texts:
        found = classify(text)
        assert found is None or len(found.text) <= 64
    assert time.process_time() - begun < 0.5


@pytest.mark.parametrize("gap", ["  ", "\t\t", "\u3000\u3000", " - - ", "··", "·-", "   "], ids=repr)
def test_a_gap_of_several_signs_is_no_separator(gap: str) -> None:
    """One separator stands before a serial; a wider gap has room for a character that was not read."""
    read = classify(f"沪A{gap}D1345")
    assert read is not None
    assert not read.whole
