"""JPEGs that want time, memory or to be taken for something else: each is bounded, and told by the right reason."""

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.pictures.jpeg import Unusable, shrink
from drivers.pictures.judge import PictureLimits, judge
from drivers.pictures.markers import frame_of
from drivers.pictures.measure import Sight, alike
from tests.cost import least
from tests.drivers.pictures.attacks import (
    LARGEST,
    as_frame,
    of_scans,
    of_two_pictures,
    one_colour_after_the_other,
    replaced,
    resized,
    scene,
    segment,
    segments,
    turned_by_exif,
    with_segment,
)

PLAIN = scene()
WITHIN_S = 1.0
MEMORY_MIB = 56
"""Of a process that decodes what may be decoded: the interpreter, Pillow, and a progressive picture of 8 megapixels."""

REFUSED = {
    "a quarter of a million scans": (of_scans(2800, 2800, 250_000)[:LARGEST], "scans"),
    "33 scans": (of_scans(320, 320, 32), "scans"),
    "colours apart, 40 megapixels": (one_colour_after_the_other(7000, 5600), "too large: 7000 x 5600"),
    "100 megapixels": (resized(PLAIN, 10_000, 10_000), "too large: 10000 x 10000"),
    "progressive, 9 megapixels": (of_scans(3000, 3000, 2), "too large: 3000 x 3000"),
    "so wide that it cannot be reduced": (resized(PLAIN, 65_000, 250), "too large: 65000 x 250"),
    "no width": (resized(PLAIN, 0, 480), "no picture in it"),
    "a million comments": (PLAIN[:2] + segment(0xFE, b"") * 1_000_000 + PLAIN[2:], "segments"),
    "filled up": (PLAIN[:2] + b"\xff" * (LARGEST - len(PLAIN)), "damaged"),
    "two frames": (with_segment(PLAIN, 0xC0, dict(segments(PLAIN))[0xC0]), "damaged"),
    "arithmetical": (as_frame(PLAIN, 0xC9), "arithmetical"),
    "lossless": (as_frame(PLAIN, 0xC3), "a kind of JPEG"),
    "differential": (as_frame(PLAIN, 0xC5), "a kind of JPEG"),
    "12 bits": (replaced(PLAIN, 0xC0, b"\x0c" + dict(segments(PLAIN))[0xC0][1:]), "damaged"),
    "no quantization": (replaced(PLAIN, 0xDB, b""), "damaged"),
    "a cut quantization": (replaced(PLAIN, 0xDB, bytes(20)), "damaged"),
    "more codes than there are": (replaced(PLAIN, 0xC4, b"\x00" + b"\xff" * 16 + bytes(256)), "damaged"),
    "a table of no kind": (replaced(PLAIN, 0xC4, b"\xff" + bytes(16)), "damaged"),
    "a segment over the end": (PLAIN[:2] + b"\xff\xe1\xff\xff" + PLAIN[2:2000], "damaged"),
    "a segment of no length": (PLAIN[:2] + b"\xff\xe1\x00\x00" + PLAIN[2:], "damaged"),
    "only an end": (b"\xff\xd8\xff\xd9", "no picture in it"),
    "no end": (PLAIN[:-2], "damaged"),
    "half": (PLAIN[: len(PLAIN) // 2], "damaged"),
}


def is_refused(use: Callable[[bytes], object], data: bytes, why: str) -> None:
    with pytest.raises(Unusable, match=why):
        use(data)


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_soon_and_says_why(name: str) -> None:
    data, why = REFUSED[name]
    assert len(data) <= LARGEST
    for use in (Sight.of, shrink, lambda one: alike(one, PLAIN)):
        assert least(partial(is_refused, use, data, why)) < WITHIN_S


def test_what_may_be_decoded_costs_no_more() -> None:
    for data in (of_scans(2800, 2800, 30), one_colour_after_the_other(2800, 2800), scene(size=(7300, 5400))):
        assert Sight.of(data).size[0] >= 2800
        assert least(partial(Sight.of, data)) < WITHIN_S


def test_all_of_them_in_a_process_of_their_own_need_little_memory(tmp_path: Path) -> None:
    for number, (data, _) in enumerate(REFUSED.values()):
        (tmp_path / f"{number}.jpg").write_bytes(data)
    (tmp_path / "whole.jpg").write_bytes(of_scans(2800, 2800, 30))
    program = """\
import sys
from pathlib import Path
from typing import Any
from drivers.pictures.jpeg import Unusable
from drivers.pictures.measure import Sight
for path in Path(sys.argv[1]).glob("*.jpg"):
    try:
        Sight.of(path.read_bytes()).figures
    except Unusable:
        pass
print(next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")).split()[1])
"""
    done = subprocess.run((sys.executable, "-c", program, tmp_path), capture_output=True, text=True, check=True)
    assert int(done.stdout) <= MEMORY_MIB << 10


@pytest.mark.parametrize(
    "data",
    [
        turned_by_exif(PLAIN, 90_000),
        with_segment(PLAIN, 0xFE, b"<html>"),
        with_segment(with_segment(PLAIN, 0xE2, b"ICC_PROFILE\x00\x01\x01" + bytes(9000)), 0xE1, b"http://ns.adobe.com/"),
        of_two_pictures(PLAIN, scene(size=(320, 180))),
        PLAIN + b"<html>" * 100,
        PLAIN[:2] + b"\xff\xff\xff" + PLAIN[2:],
    ],
)  # fmt: skip
def test_what_is_said_around_a_picture_changes_nothing_of_it(data: bytes) -> None:
    assert data != PLAIN
    assert Sight.of(data).figures == Sight.of(PLAIN).figures
    assert alike(data, PLAIN) == 1.0
    assert shrink(data) == shrink(PLAIN)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 4}, {"subsampling": 0}])
def test_every_usual_kind_is_a_picture(mode: str, options: dict[str, Any]) -> None:
    data = scene(mode, **options)
    assert judge(Sight.of(data).figures, PictureLimits()).reason is None
    assert frame_of(data).components == {"L": 1, "RGB": 3, "CMYK": 4}[mode]
    assert frame_of(data).whole == ("progressive" in options)


def test_half_of_it_with_a_proper_end_is_damaged() -> None:
    half = PLAIN[: len(PLAIN) // 2] + b"\xff\xd9"
    assert judge(Sight.of(half).figures, PictureLimits()).reason == "damaged"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 0.999), st.binary(min_size=1, max_size=8)), min_size=1, max_size=4))
def test_damage_raises_nothing_else(damage: list[tuple[float, bytes]]) -> None:
    data = bytearray(scene(size=(64, 48)))
    for place, new in damage:
        at = int(place * len(data))
        data[at : at + len(new)] = new
    try:
        found = shrink(bytes(data))
    except Unusable:
        return
    assert found.startswith(b"\xff\xd8\xff")
