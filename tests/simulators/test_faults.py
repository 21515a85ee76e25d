"""What faults make of an answer."""

import random

from hypothesis import given
from hypothesis import strategies as st

from simulators.faults import Faults, framed, garbled
from simulators.frames import rtu
from tests.simulators.raw import checksum

_PDU = st.builds(lambda function, data: bytes((function,)) + data, st.integers(1, 127), st.binary(max_size=120))


def _chance(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - faults are to be repeatable


@given(st.integers(1, 247), _PDU)
def test_a_healthy_unit_answers_as_it_is(unit: int, pdu: bytes) -> None:
    frame = framed(Faults(), unit, pdu, rtu)

    assert garbled(None, frame, _chance(0), exposed=len(frame)) == rtu(unit, pdu)


@given(st.integers(1, 247), _PDU)
def test_another_unit_or_function_has_a_right_checksum(unit: int, pdu: bytes) -> None:
    stranger = framed(Faults(wrong_unit=True), unit, pdu, rtu)
    other = framed(Faults(wrong_function=True), unit, pdu, rtu)

    assert stranger[0] != unit
    assert 1 <= stranger[0] <= 247
    assert other[1] != pdu[0]
    assert other[0] == unit
    for frame in (stranger, other):
        assert checksum(frame[:-2]) == frame[-2:]


@given(st.integers(1, 247), _PDU, st.integers(0, 2**32))
def test_three_turned_bits_are_always_noticed(unit: int, pdu: bytes, seed: int) -> None:
    frame = rtu(unit, pdu)
    turned = garbled("flip", frame, _chance(seed), exposed=len(frame))

    assert len(turned) == len(frame)
    assert checksum(turned[:-2]) != turned[-2:]


@given(_PDU, st.integers(0, 2**32))
def test_a_cut_answer_is_a_beginning(pdu: bytes, seed: int) -> None:
    frame = rtu(1, pdu)
    cut = garbled("cut", frame, _chance(seed), exposed=len(frame))

    assert 1 <= len(cut) < len(frame)
    assert frame.startswith(cut)


def test_knobs_last_as_many_requests_as_asked() -> None:
    faults = Faults(silent=True, late=2.0, glitch=b"\0", times=2)

    faults.spend()
    assert (faults.silent, faults.late) == (True, 0.0)
    faults.spend()
    assert faults == Faults()
