import pytest

from drivers.modbus.settings import LineSettings
from drivers.modbus.wiretime import WireTime


def bus(baudrate: int, **more: object) -> WireTime:
    return WireTime.of(LineSettings(name="l", serial="/dev/ttyS0", baudrate=baudrate, **more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("baudrate", "count", "milliseconds"),
    [(1200, 1, 125.0), (4800, 10, 68.8), (9600, 1, 15.6), (9600, 125, 274.0), (19200, 32, 40.1), (115200, 125, 22.8)],
)
def test_wire_time_of_a_register_read(baudrate: int, count: int, milliseconds: float) -> None:
    time = bus(baudrate)
    assert time.read(count, bits=False) - 2 * time.silence == pytest.approx(milliseconds / 1000, abs=6e-5)


@pytest.mark.parametrize(("baudrate", "milliseconds"), [(1200, 29.17), (9600, 3.646), (19200, 1.823), (38400, 1.75)])
def test_silence(baudrate: int, milliseconds: float) -> None:
    assert bus(baudrate).silence == pytest.approx(milliseconds / 1000, abs=5e-6)


def test_parity_and_second_stop_bit_lengthen_the_character() -> None:
    assert bus(9600).character == pytest.approx(10 / 9600)
    assert bus(9600, parity="even").character == pytest.approx(11 / 9600)
    assert bus(9600, parity="odd", stopbits=2).character == pytest.approx(12 / 9600)


def test_a_device_may_want_more_silence_but_not_less() -> None:
    time = bus(9600)
    assert time.read(1, bits=False, silence=0.02) == pytest.approx(time.read(1, bits=False) + 0.02 - time.silence)
    assert time.read(1, bits=False, silence=0.001) == time.read(1, bits=False)


def test_on_tcp_requests_cost_and_bytes_hardly() -> None:
    time = WireTime.of(LineSettings(name="l", host="h"))
    assert time.cost(125, bits=False) < 2 * time.cost(1, bits=False)
    assert time.cost(1, bits=False) < time.cost(2, bits=False)
