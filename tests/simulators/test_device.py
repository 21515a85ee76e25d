"""A slave's memory and its answers, byte by byte (MODBUS Application Protocol V1.1b3)."""

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.device import Device
from gateway.config.points import At
from simulators.device import VirtualDevice


def _device(points: dict[str, Any], *, strict: bool = False, **keys: Any) -> VirtualDevice:
    device = Device.model_validate({"line": "bus", "unit": 7, "points": points, **keys})
    return VirtualDevice("it", device, strict=strict)


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text)


def test_reads_every_table() -> None:
    it = _device(
        {
            "c0": {"at": "coil 0"}, "c9": {"at": "coil 9"},
            "d4": {"at": "discrete 4"},
            "h3": {"at": "holding 3", "type": "int16", "scale": 0.1},
            "i1": {"at": "input 1", "type": "uint32"},
        }
    )  # fmt: skip
    it.set("c9", True)
    it.set("d4", True)
    it.set("h3", -1.5)
    it.set("i1", 0x12345678)

    assert it.answer(_bytes("01 0000 000a"), 0) == _bytes("01 02 00 02")
    assert it.answer(_bytes("02 0004 0001"), 0) == _bytes("02 01 01")
    assert it.answer(_bytes("03 0003 0001"), 0) == _bytes("03 02 fff1")
    assert it.answer(_bytes("04 0001 0002"), 0) == _bytes("04 04 12345678")
    assert it.get("h3", 0) == pytest.approx(-1.5)
    assert it.requests == 4
    assert it.refused == 0


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        ("07", "87 01"),
        ("2b 0e 01 00", "ab 01"),
        ("03 0005 0001", "83 02"),
        ("03 0000 0006", "83 02"),
        ("03 0000 0000", "83 03"),
        ("03 0000 0011", "83 03"),
        ("03 ffff 0002", "83 02"),
        ("03 0000", "83 03"),
        ("03 0000 0001 00", "83 03"),
        ("04 0000 0001", "84 02"),
        ("05 0000 1234", "85 03"),
        ("05 0001 ff00", "85 02"),
        ("06 0001 0001", "86 02"),
        ("06 0004 00", "86 03"),
        ("0f 0000 0001 02 01", "8f 03"),
        ("0f 0000 0000 00", "8f 03"),
        ("10 0004 0001 03 0001", "90 03"),
        ("10 0004 0000 00", "90 03"),
        ("10 ffff 0002 04 00010002", "90 02"),
    ],
)
def test_refusals(request_: str, answer: str) -> None:
    it = _device(
        {
            "a": {"at": "holding 0"}, "b": {"at": "holding 1"}, "w": {"at": "holding 4", "write": True},
            "o": {"at": "coil 0", "write": True},
        },
        limits={"max_registers": 16, "max_bits": 16},
    )  # fmt: skip

    assert it.answer(_bytes(request_), 0) == _bytes(answer)
    assert it.refused == 1
    assert not it.writes


def test_an_empty_request_is_refused() -> None:
    assert _device({"a": {"at": "holding 0"}}).answer(b"", 0) == _bytes("80 01")


def test_holes_answer_zero_or_are_refused() -> None:
    points = {"a": {"at": "holding 0"}, "b": {"at": "holding 3"}, "c": {"at": "holding 9"}}
    ask_a_to_b, ask_all = _bytes("03 0000 0004"), _bytes("03 0000 000a")

    assert _device(points).answer(ask_all, 0)[:2] == _bytes("03 14")
    assert _device(points, limits={"max_gap": 2}).answer(ask_a_to_b, 0)[:2] == _bytes("03 08")
    assert _device(points, limits={"max_gap": 2}).answer(ask_all, 0) == _bytes("83 02")
    assert _device(points, strict=True).answer(ask_a_to_b, 0) == _bytes("83 02")
    assert _device(points, strict=True).answer(_bytes("03 0003 0001"), 0) == _bytes("03 02 0000")


def test_writes_are_carried_out_and_recorded() -> None:
    it = _device(
        {
            "do1": {"at": "coil 0", "write": True}, "do2": {"at": "coil 1", "write": True},
            "set1": {"at": "holding 5", "scale": 0.1, "write": True},
            "set2": {"at": "holding 6", "type": "float32", "write": True},
        }
    )  # fmt: skip
    requests = ["05 0000 ff00", "0f 0000 0002 01 02", "06 0005 007b", "10 0006 0002 04 41a00000"]

    answers = [it.answer(_bytes(request), float(at)) for at, request in enumerate(requests)]

    assert answers == [_bytes(text) for text in ("05 0000 ff00", "0f 0000 0002", "06 0005 007b", "10 0006 0002")]
    assert [it.get(point, 9) for point in it.points] == [False, True, pytest.approx(12.3), 20.0]
    assert [(w.mono, w.function, str(At(w.table, w.address)), w.values, w.point) for w in it.writes] == [
        (0.0, 5, "coil 0", (1,), "do1"),
        (1.0, 15, "coil 0", (0, 1), "do1"),
        (2.0, 6, "holding 5", (123,), "set1"),
        (3.0, 16, "holding 6", (0x41A0, 0), "set2"),
    ]
    assert it.writes[2].value == pytest.approx(12.3)


def test_odd_values_switch_a_coil_on_and_off() -> None:
    it = _device({"do1": {"at": "coil 1", "write": {"on": 0x0100, "off": 0}}})

    assert it.answer(_bytes("05 0001 ff00"), 0) == _bytes("85 03")
    assert it.answer(_bytes("05 0001 0100"), 0) == _bytes("05 0001 0100")
    assert it.get("do1", 0) is True
    assert it.answer(_bytes("05 0001 0000"), 0) == _bytes("05 0001 0000")
    assert it.get("do1", 0) is False


def test_odd_values_switch_a_relay_by_register_and_only_by_its_function() -> None:
    it = _device({"do1": {"at": "holding 1", "type": "bool", "write": {"fc": 6, "on": 1, "off": 2}}})

    assert it.answer(_bytes("10 0001 0001 02 0001"), 0) == _bytes("90 01")
    assert it.answer(_bytes("06 0001 0001"), 0) == _bytes("06 0001 0001")
    assert it.get("do1", 0) is True
    assert it.answer(_bytes("06 0001 0002"), 0) == _bytes("06 0001 0002")
    assert it.get("do1", 0) is False
    assert it.answer(_bytes("06 0001 0007"), 0) == _bytes("86 03")


def test_a_timed_pulse_ends_by_itself() -> None:
    it = _device({"do1": {"at": "coil 0", "write": True, "pulse": {"at": "coil 512", "step": "100ms"}}})

    assert it.answer(_bytes("05 0200 0005"), 10.0) == _bytes("05 0200 0005")
    assert it.get("do1", 10.49) is True
    assert it.answer(_bytes("01 0000 0001"), 10.51) == _bytes("01 01 00")
    assert it.writes[-1].point == "do1"
    assert it.writes[-1].values == (5,)


def test_a_plain_write_takes_a_pulse_over() -> None:
    it = _device({"do1": {"at": "coil 0", "write": True, "pulse": {"at": "coil 512", "step": "100ms"}}})
    it.answer(_bytes("05 0200 0005"), 10.0)

    it.answer(_bytes("05 0000 ff00"), 10.2)

    assert it.get("do1", 99.0) is True


def test_what_tells_the_module_about_our_loss_is_kept_and_can_be_read_back() -> None:
    it = _device({"do1": {"at": "coil 0", "write": True, "loss": {"watchdog": "holding 260", "safe": "holding 129"}}})

    assert it.answer(_bytes("06 0104 0032"), 0) == _bytes("06 0104 0032")
    assert it.answer(_bytes("03 0104 0001"), 0) == _bytes("03 02 0032")
    assert it.peek(At("holding", 129)) == (0,)


def test_a_safe_value_may_be_a_coil_and_may_lie_among_the_points() -> None:
    loss = {"watchdog": "coil 259", "safe": "coil 1"}
    it = _device({"do1": {"at": "coil 0", "write": True, "loss": loss}, "di": {"at": "coil 2"}})

    for address in ("0103", "0001"):
        assert it.answer(_bytes(f"01 {address} 0001"), 0) == _bytes("01 01 00")
        assert it.answer(_bytes(f"05 {address} ff00"), 0) == _bytes(f"05 {address} ff00")
        assert it.answer(_bytes(f"01 {address} 0001"), 0) == _bytes("01 01 01")
    assert it.answer(_bytes("01 0000 0003"), 0) == _bytes("01 01 02")


def test_bits_of_one_register_do_not_disturb_each_other() -> None:
    it = _device({"b0": {"at": "input 2", "bit": 0}, "b15": {"at": "input 2", "bit": 15, "invert": True}})

    it.set("b0", True)
    assert it.peek(At("input", 2)) == (0x8001,)
    it.set("b15", True)
    assert it.peek(At("input", 2)) == (0x0001,)
    assert (it.get("b0", 0), it.get("b15", 0)) == (True, True)


def test_the_reset_point_may_be_written() -> None:
    points = {"smoke": {"at": "holding 3"}, "reset": {"at": "holding 8"}}
    it = _device(points, reset={"point": "reset", "value": 1})

    assert it.answer(_bytes("06 0008 0001"), 0) == _bytes("06 0008 0001")
    assert it.answer(_bytes("06 0003 0001"), 0) == _bytes("86 02")


def test_raw_words_can_be_poked() -> None:
    it = _device({"t": {"at": "input 1", "type": "int16", "invalid": [0x8000]}})

    it.poke(At("input", 1), 0x8000)

    assert it.get("t", 0) is None
    with pytest.raises(ValueError, match="outside"):
        it.poke(At("input", 2), 1)


@given(st.binary(max_size=260))
def test_any_bytes_get_an_answer(pdu: bytes) -> None:
    it = _device({"a": {"at": "holding 0", "write": True}, "b": {"at": "coil 3", "write": True}})

    answer = it.answer(pdu, 0)

    assert 2 <= len(answer) <= 253
    assert answer[0] & 0x7F == (pdu[0] & 0x7F if pdu else 0)


@given(
    st.sampled_from((("int16", "h", 1), ("uint32", "I", 2), ("float32", "f", 2), ("uint64", "Q", 4))),
    st.integers(0, 1000),
    st.integers(0, 32767),
)
def test_what_the_sensor_sees_is_what_a_reader_unpacks(kind: tuple[str, str, int], address: int, value: int) -> None:
    name, letter, count = kind
    it = _device({"p": {"at": f"input {address}", "type": name, "scale": 0.5}})

    it.set("p", value / 2)
    answer = it.answer(struct.pack(">BHH", 4, address, count), 0)

    assert struct.unpack(">" + letter, answer[2:])[0] == value


def test_it_leaves_a_read_of_another_count_than_its_own_without_an_answer() -> None:
    it = _device({"di1": {"at": "discrete 1"}, "v": {"at": "holding 0"}}, limits={"fixed_bits": 8})
    assert it.ignores(_bytes("02 0001 0001"))
    assert not it.ignores(_bytes("02 0001 0008"))
    assert not it.ignores(_bytes("03 0000 0001"))
    assert it.answer(_bytes("02 0001 0008"), 0) == _bytes("02 01 00")


@pytest.mark.parametrize(
    ("loss", "told", "after"),
    [
        ({"watchdog": "holding 260", "safe": "holding 129", "tick": "100ms"}, "06 0104 0032", 5.0),
        ({"watchdog": "coil 259", "safe": "holding 129", "after": "7s"}, "05 0103 ff00", 7.0),
    ],
)
def test_its_watchdog_moves_the_outputs_to_their_safe_values(loss: dict[str, str], told: str, after: float) -> None:
    outputs = {f"do{at}": {"at": f"coil {at}", "write": True, "loss": loss} for at in (1, 2)}
    outputs["do2"] = {**outputs["do2"], "loss": {**loss, "safe": "holding 130"}}
    it = _device(outputs)
    it.answer(_bytes("05 0002 ff00"), 0.0)
    it.answer(_bytes("06 0081 0001"), 0.0)
    assert it.get("do1", 1000.0) is False, "no watchdog is set"

    it.answer(_bytes(told), 1000.0)
    assert it.get("do1", 1000.0 + after) is False
    it.answer(_bytes("01 0001 0001"), 1000.0 + after)
    assert it.get("do1", 999.0 + 2 * after) is False, "every request feeds it"

    assert it.get("do1", 1000.1 + 2 * after) is True
    assert it.get("do2", 1000.1 + 2 * after) is False
    it.answer(_bytes("05 0001 0000"), 1100.0)
    assert it.get("do1", 1101.0) is False, "it obeys again"
