"""The pictures are files that any decoder takes: their structure is read back here."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.cameras.jpeg import jpeg

BARE = len(jpeg(width=96, height=32))


def decoded(data: bytes) -> tuple[int, int, list[int]]:
    """Width, height and the shade of every block. Raises AssertionError or IndexError for what is no such JPEG."""
    assert data[:2] == b"\xff\xd8"
    at, step, codes, size = 2, 0, {}, (0, 0)
    while True:
        assert data[at] == 0xFF
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : at + 2 + length]
        at += 2 + length
        if marker == 0xDB:
            assert len(body) == 65
            step = body[1]
        elif marker == 0xC0:
            size = (int.from_bytes(body[3:5], "big"), int.from_bytes(body[1:3], "big"))
        elif marker == 0xC4:
            assert len(body) == 17 + sum(body[1:17])
            if body[0] == 0:
                codes = huffman(body[1:17], body[17:])
            else:
                assert (body[0], body[1], body[17:]) == (0x10, 1, b"\x00")
        elif marker == 0xDA:
            break
        else:
            assert marker in (0xE0, 0xFE)
    assert data[-2:] == b"\xff\xd9"
    width, height = size
    count = -(-width // 8) * -(-height // 8)
    return width, height, shades(data[at:-2], codes, count, step)


def huffman(counts: bytes, values: bytes) -> dict[str, int]:
    found, code, place = {}, 0, 0
    for length, count in enumerate(counts, 1):
        for _ in range(count):
            found[format(code, f"0{length}b")] = values[place]
            code, place = code + 1, place + 1
        code *= 2
    return found


def shades(scan: bytes, codes: dict[str, int], count: int, step: int) -> list[int]:
    bits = "".join(format(byte, "08b") for byte in scan.replace(b"\xff\x00", b"\xff"))
    found, at, level = [], 0, 0
    for _ in range(count):
        length = next(n for n in range(1, 12) if bits[at : at + n] in codes)
        category = codes[bits[at : at + length]]
        at += length
        said = bits[at : at + category]
        if category:
            level += int(said, 2) if said[0] == "1" else int(said, 2) - (1 << category) + 1
        at += category
        assert bits[at] == "0"
        at += 1
        found.append(level * step // 8 + 128)
    assert set(bits[at:]) <= {"1"}
    assert len(bits) - at < 8
    return found


@given(
    seed=st.integers(0, 99), width=st.integers(8, 200), height=st.integers(8, 200), mean=st.integers(0, 255),
    spread=st.integers(0, 120),
)  # fmt: skip
def test_it_is_a_jpeg_of_these_shades(seed: int, width: int, height: int, mean: int, spread: int) -> None:
    found = decoded(jpeg(seed=seed, width=width, height=height, mean=mean, spread=spread))

    assert found[:2] == (width, height)
    assert all(max(0, mean - spread) - 1 <= shade <= min(255, mean + spread) + 1 for shade in found[2])
    if spread == 0:
        assert set(found[2]) == {mean}


@given(extra=st.one_of(st.integers(4, 600), st.integers(65_000, 66_500), st.integers(131_000, 132_000)))
def test_it_is_as_large_as_was_asked_for(extra: int) -> None:
    made = jpeg(BARE + extra, width=96, height=32)

    assert len(made) == BARE + extra
    assert decoded(made)[2] == decoded(jpeg(width=96, height=32))[2]


@pytest.mark.parametrize("size", [0, 1, BARE + 3])
def test_it_is_never_cut(size: int) -> None:
    assert len(jpeg(size, width=96, height=32)) == BARE


def test_each_seed_is_another_picture() -> None:
    assert len({jpeg(seed=seed) for seed in range(20)}) == 20
