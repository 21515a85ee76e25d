from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.arguments import duration
from gateway.config.rounds import cron
from gateway.config.units import broker, endpoint, is_loopback, size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("2s", 2), ("5m", 300), ("12h", 43200), ("7d", 604800), ("1.5s", 1.5), ("0s", 0)],
)
def test_duration(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", [5, "5", "5 s", "s", "-1s", "1w", "1S", "", None, "9" * 400 + "d", "٣s"])
def test_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match="with its unit"):
        duration(text)


def test_size() -> None:
    assert (size("512KiB"), size("64MiB"), size("1GiB")) == (512 << 10, 64 << 20, 1 << 30)
    for text in (5, "5", "5MB", "5 MiB", "-5MiB", "1.5MiB"):
        with pytest.raises(ValueError, match="with its unit"):
            size(text)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("192.168.1.20:502", ("192.168.1.20", 502)),
        ("plc.local:502", ("plc.local", 502)),
        ("[fe80::1]:502", ("fe80::1", 502)),
        ("localhost:65535", ("localhost", 65535)),
    ],
)
def test_endpoint(text: str, where: tuple[str, int]) -> None:
    assert endpoint(text) == where


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":502",
        "a",
        "a:",
        "a:0",
        "a:65536",
        "a:-1",
        "fe80::1:502",
        "[1.2.3.4]:5",
        "1.2.3:5",
        "a b:5",
        "a:5:6",
        "a/b:5",
        502,
        None,
    ],
)
def test_no_endpoint(text: object) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        endpoint(text)


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("mqtt://127.0.0.1", ("127.0.0.1", 1883)),
        ("mqtts://mqtt.example.com", ("mqtt.example.com", 8883)),
        ("mqtts://mqtt.example.com:443/", ("mqtt.example.com", 443)),
        ("mqtt://[::1]", ("::1", 1883)),
        ("mqtt://[::1]:1884", ("::1", 1884)),
    ],
)
def test_broker(url: str, where: tuple[str, int]) -> None:
    assert broker(url) == where


@pytest.mark.parametrize(
    "url", ["http://a", "mqtt:/a", "a", "mqtt://", "mqtt://a:b:c", "mqtt://a/path", "mqtt://u:p@a", "tcp://a", 5]
)
def test_no_broker(url: object) -> None:
    with pytest.raises(ValueError, match="mqtt"):
        broker(url)


def test_loopback() -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "127.9.9.9")] == [True] * 4
    assert [is_loopback(host) for host in ("10.0.0.0", "192.168.1.1", "localhost.example.com")] == [False] * 3


@pytest.mark.parametrize(
    "text", ["0 2 * * *", "*/5 8-18 * * 1-5", "0 0 1,15 * *", "0 2 * jan-mar sun", "59 23 31 12 7"]
)
def test_cron(text: str) -> None:
    assert cron(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "* * * *",
        "* * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * 13 *",
        "* * * * 8",
        "*/0 * * * *",
        "5-1 * * * *",
        "a * * * *",
        "@daily",
        5,
        None,
    ],
)
def test_no_cron(text: object) -> None:
    with pytest.raises(ValueError, match="such as"):
        cron(text)


@given(st.text(), st.sampled_from([duration, size, endpoint, broker, cron]))
def test_validators_raise_value_errors_only(text: str, validate: Callable[[object], object]) -> None:
    with suppress(ValueError):
        assert validate(text) is not None
