from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from gateway.backoff import BackOff
from gateway.cloud.mqtt.retained import ACTIVE_BYTES, Slot, active_data
from gateway.model import Json
from tests.chance import Drawn

SEVERITIES = ["critical", "high", "medium", "low"]

alarms = st.lists(
    st.fixed_dictionaries(
        {
            "severity": st.sampled_from([*SEVERITIES, "odd"]),
            "raised_at": st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "2025-01-01T00:00:00Z"]),
            "place": st.text(max_size=400),
        }
    ),
    max_size=40,
)


def rank(alarm: dict[str, Json]) -> tuple[int, str]:
    severity = str(alarm["severity"])
    return SEVERITIES.index(severity) if severity in SEVERITIES else 9, str(alarm["raised_at"])


@given(alarms, st.integers(1100, 20_000), st.integers(0, 10**12))
def test_the_most_severe_fit_and_the_rest_is_counted(standing: list[dict[str, Any]], limit: int, upto: int) -> None:
    encoded = active_data(standing, upto, limit)
    data = orjson.loads(encoded)
    assert len(encoded) <= limit
    assert len(data["alarms"]) + data["more"] == len(standing)
    assert data["upto"] == f"{upto:020d}"
    ranks = [rank(alarm) for alarm in data["alarms"]]
    assert ranks == sorted(rank(alarm) for alarm in standing)[: len(ranks)]


def test_beyond_128_kib_the_least_severe_are_left_out() -> None:
    standing = [{"severity": "low", "raised_at": str(n), "place": "x" * 1000} for n in range(300)]
    standing.append({"severity": "critical", "raised_at": "9", "place": "fire"})
    data = active_data(standing, 1, 1 << 28)
    assert ACTIVE_BYTES - 4096 < len(data) <= ACTIVE_BYTES
    assert orjson.loads(data)["alarms"][0]["place"] == "fire"


def test_nothing_standing() -> None:
    assert orjson.loads(active_data([], 0, 10_000)) == {"upto": "0" * 20, "alarms": [], "more": 0}


def test_only_the_latest_is_sent_and_made_once() -> None:
    made: list[str] = []

    def build(name: str) -> bytes:
        made.append(name)
        return name.encode()

    slot = Slot("t", "x", every=1.0)
    assert slot.take(0.0, 100) is None
    slot.put(lambda _: build("a"))
    slot.put(lambda _: build("b"))
    assert slot.take(0.0, 100) == b"b"
    assert slot.take(5.0, 100) is None
    slot.connected()
    assert slot.take(5.0, 100) == b"b"
    assert made == ["b"]


def test_not_more_often_than_every() -> None:
    slot = Slot("t", "x", every=1.0)
    slot.put(lambda _: b"a")
    assert slot.take(10.0, 100) == b"a"
    slot.put(lambda _: b"b")
    assert slot.take(10.5, 100) is None
    assert slot.due() == 11.0
    assert slot.take(11.0, 100) == b"b"
    assert slot.due() is None


def test_a_refused_message_goes_again_later_and_a_new_connection_at_once() -> None:
    slot = Slot("t", "x")
    slot.put(lambda _: b"a")
    assert slot.take(0.0, 100) == b"a"
    slot.answered(0x97, 0.0, BackOff(4.0, 60.0, Drawn(1.0), sure=0.5))
    assert slot.take(3.9, 100) is None
    slot.connected()
    assert slot.take(3.9, 100) == b"a"


def test_what_does_not_fit_is_counted_and_cleared_is_nothing() -> None:
    slot = Slot("t", "x")
    slot.put(lambda _: b"long")
    assert slot.take(0.0, 3) is None
    assert slot.too_large == 1
    slot.connected()
    assert slot.take(0.0, 4) == b"long"
    slot.clear()
    slot.connected()
    assert slot.take(0.0, 4) is None
