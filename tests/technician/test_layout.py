"""Lines of a terminal, and what is written to change them: never wider than the screen, and it shows what it should."""

from hypothesis import given
from hypothesis import strategies as some

from gateway.technician.layout import PrintedTable, ScreenLine, change, cut, lines, width
from gateway.technician.live import View
from tests.technician.terminal import Screen

WORDS = some.text("ab 3号楼走廊°·…\x1b\n", max_size=30)
STYLES = some.sampled_from(["", "1", "7"])


@given(some.lists(some.tuples(WORDS, WORDS, WORDS), max_size=6), some.integers(20, 100))
def test_no_line_is_wider_than_the_screen(rows: list[tuple[str, str, str]], columns: int) -> None:
    for line in lines(PrintedTable("t", ("name", ">value", "where"), rows), columns):
        assert width(line.text) <= columns
        assert "\x1b" not in line.text
        assert "\n" not in line.text


@given(WORDS, some.integers(0, 40))
def test_what_is_cut_fits(text: str, columns: int) -> None:
    assert width(cut(text, columns)) <= columns
    assert cut(text, width(text)) == text


TEXTS = some.lists(some.text("ab号楼 ", max_size=8).map(str.rstrip), min_size=4, max_size=4)
PICTURES = some.tuples(TEXTS, some.lists(STYLES, min_size=4, max_size=4)).map(
    lambda both: [ScreenLine(text, style) for text, style in zip(*both, strict=True)]
)


@given(some.lists(PICTURES, min_size=1, max_size=5))
def test_after_any_changes_the_screen_shows_the_last_picture(pictures: list[list[ScreenLine]]) -> None:
    screen, old = Screen(4, 20), [ScreenLine("")] * 4
    for picture in pictures:
        screen.feed(change(old, picture))
        old = picture
        assert screen.lines == [line.text for line in picture]
        assert change(picture, picture) == ""
    assert screen.unknown == []


@given(some.lists(some.sampled_from(["j", "k", " ", "b", "g", "G", "/", "a", "\r", "\x1b", "\x7f", "号"]), max_size=20))
def test_whatever_is_pressed_there_is_a_picture(keys: list[str]) -> None:
    view = View()
    rows = [(f"device-{number}", "号" * number) for number in range(50)]
    for key in keys:
        assert view.press(key)
        picture = view.picture(
            [PrintedTable("title", ("name", "where"), rows), PrintedTable("more", ("name",), [("a",)])], 24, 80
        )
        assert len(picture) == 24
        assert all(width(line.text) <= 80 for line in picture)
    assert not View().press("q")
