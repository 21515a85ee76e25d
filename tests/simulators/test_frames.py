"""Frames, checksums and the time of a character."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.frames import Framing, crc, mbap, request_size, rtu
from tests.simulators.raw import checksum


@given(st.binary(max_size=260))
def test_the_checksum_is_that_of_the_bitwise_rule(data: bytes) -> None:
    assert crc(data) == checksum(data)


def test_known_frames() -> None:
    assert rtu(1, bytes.fromhex("03 0000 000a")).hex() == "01030000000ac5cd"
    assert mbap(0x1234, 17, bytes.fromhex("03 006b 0003")).hex() == "1234000000061103006b0003"


@pytest.mark.parametrize(
    ("framing", "character", "silence"),
    [
        (Framing(9600), 10 / 9600, 35 / 9600),
        (Framing(4800, parity=True), 11 / 4800, 38.5 / 4800),
        (Framing(19200, stopbits=2), 11 / 19200, 38.5 / 19200),
        (Framing(115200), 10 / 115200, 0.00175),
    ],
)
def test_time_on_the_wire(framing: Framing, character: float, silence: float) -> None:
    assert framing.character == pytest.approx(character)
    assert framing.silence == pytest.approx(silence)


@pytest.mark.parametrize(
    ("frame", "size"),
    [
        ("01", None),
        ("01 03", 8),
        ("01 06 0000", 8),
        ("01 10 0000 0002", None),
        ("01 10 0000 0002 04", 13),
        ("01 0f 0000 0009 02", 11),
        ("01 2b", None),
    ],
)
def test_the_size_of_a_request_is_known_as_soon_as_can_be(frame: str, size: int | None) -> None:
    assert request_size(bytes.fromhex(frame)) == size
