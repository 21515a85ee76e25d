from hypothesis import given
from hypothesis import strategies as st

from gateway.field.telemetry_changes import WINDOW_S, TelemetryChanges
from gateway.model import Instant, Quality, Reading, Reason, Value


def reading(value: Value | None, text: str | None = None, quality: Quality = Quality.GOOD) -> Reading:
    return Reading(value, text, None, quality, None, Instant(0.0, 0.0, synced=True))


BAD = reading(None, quality=Quality.BAD)._replace(reason=Reason.SILENT)


def started(value: Value, band: float) -> TelemetryChanges:
    changes = TelemetryChanges({"p": band})
    changes.full({"p": reading(value)}, 0.0)
    return changes


def test_nothing_leaves_before_the_first_full_picture() -> None:
    changes = TelemetryChanges({})
    assert not changes.offer({"p": reading(1)})
    assert not changes.started
    changes.full({"p": reading(1)}, 5.0)
    assert changes.offer({"p": reading(2)})
    assert changes.take(6.0) == {"p": reading(2)}
    assert changes.due() == 6.0 + WINDOW_S


def test_a_number_within_the_band_of_the_last_sent_value_is_not_told() -> None:
    changes = started(10.0, 0.5)
    assert not changes.offer({"p": reading(10.5)})
    assert not changes.offer({"p": reading(9.5)})
    assert changes.offer({"p": reading(10.6)})
    changes.take(1.0)
    assert not changes.offer({"p": reading(10.2)})
    assert changes.offer({"p": reading(10.0)})


def test_quality_and_text_pass_whatever_the_band() -> None:
    changes = started(10.0, 100.0)
    assert changes.offer({"p": BAD})
    changes.take(1.0)
    assert changes.offer({"p": reading(10.0)})
    changes.take(2.0)
    assert changes.offer({"p": reading(10.0, "normal")})
    changes.take(3.0)
    assert changes.offer({"p": reading(10.0, "normal", Quality.SUSPECT)})


def test_a_band_is_for_numbers_only() -> None:
    changes = started(value=False, band=5.0)
    assert changes.offer({"p": reading(value=True)})
    changes.take(1.0)
    assert changes.offer({"p": reading("text")})


@given(st.lists(st.tuples(st.floats(-5, 5), st.booleans()), max_size=60), st.floats(0.01, 2.0))
def test_the_cloud_is_never_further_off_than_the_band(moves: list[tuple[float, bool]], band: float) -> None:
    changes = started(0.0, band)
    value = known = 0.0
    for now, (move, flush) in enumerate(moves):
        value += move
        changes.offer({"p": reading(value)})
        if flush and changes.waiting:
            sent = changes.take(float(now))["p"].value
            assert isinstance(sent, float)
            known = sent
            assert known == value
        if not changes.waiting:
            assert abs(value - known) <= band


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 3), max_size=3), max_size=30))
def test_without_bands_the_messages_add_up_to_what_happened(turns: list[dict[str, int]]) -> None:
    changes = TelemetryChanges({})
    changes.full({}, 0.0)
    truth: dict[str, Reading] = {}
    known: dict[str, Reading] = {}
    for number, turn in enumerate(turns):
        readings = {point: reading(value) for point, value in turn.items()}
        truth.update(readings)
        changes.offer(readings)
        if number % 3 == 0:
            known.update(changes.take(float(number)))
    known.update(changes.take(99.0))
    assert known == truth
