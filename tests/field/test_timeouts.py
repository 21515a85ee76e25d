import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.driver import Timing
from gateway.field.timeouts import AnswerTime, ProbeWait

TCP = Timing(floor=0.2, ceiling=1.0)
BUS = Timing(floor=0.05, ceiling=0.3)


def test_the_first_samples_follow_rfc_6298() -> None:
    time = AnswerTime(Timing(floor=0.0, ceiling=10.0))
    assert time.timeout == 10.0
    time.sample(0.1)
    assert time.timeout == pytest.approx(0.1 + 4 * 0.05)
    time.sample(0.2)
    assert time.smoothed == pytest.approx(7 / 8 * 0.1 + 1 / 8 * 0.2)
    assert time.variation == pytest.approx(3 / 4 * 0.05 + 1 / 4 * 0.1)
    assert time.timeout == pytest.approx((7 / 8 * 0.1 + 1 / 8 * 0.2) + 4 * (3 / 4 * 0.05 + 1 / 4 * 0.1))


@given(st.sampled_from([TCP, BUS]), st.lists(st.floats(-0.01, 3.0), max_size=60))
def test_the_time_out_stays_within_its_limits(timing: Timing, samples: list[float]) -> None:
    time = AnswerTime(timing)
    for sample in samples:
        time.sample(sample)
        assert timing.floor <= time.timeout <= timing.ceiling
        for misses in range(4):
            assert time.timeout <= time.after(misses) <= timing.ceiling


def test_a_steady_device_gets_a_time_out_near_its_answer_time() -> None:
    time = AnswerTime(Timing(floor=0.05, ceiling=1.0))
    for _ in range(50):
        time.sample(0.12)
    assert 0.12 < time.timeout < 0.13


@given(st.floats(0.05, 1.0), st.floats(0.0, 1.0))
def test_a_device_that_became_slower_is_waited_for_within_three_tries_or_the_ceiling(
    before: float, more: float
) -> None:
    time = AnswerTime(Timing(floor=0.05, ceiling=1.0))
    for _ in range(100):
        time.sample(min(before, 1.0))
    slower = min(1.0, before * (1 + 2 * more))
    assert time.after(2) >= slower


@given(st.lists(st.floats(0.01, 0.11), min_size=400, max_size=400))
@settings(max_examples=20)
def test_quantiles_are_near_enough(samples: list[float]) -> None:
    time = AnswerTime(BUS)
    for sample in samples:
        time.sample(sample)
    assert 0.0 <= time.p50 <= 0.13
    assert time.p50 - 0.02 <= time.p95 <= 0.2


def test_quantiles_of_a_spread_device() -> None:
    time = AnswerTime(Timing(floor=0.0, ceiling=1.0))
    for number in range(4000):
        time.sample(number * 37 % 100 / 1000)
    assert time.p50 == pytest.approx(0.05, abs=0.02)
    assert time.p95 == pytest.approx(0.095, abs=0.02)


@given(st.floats(0.0, 2.25))
def test_probes_cost_at_most_a_twentieth_and_come_within_45_seconds(cost: float) -> None:
    wait = ProbeWait()
    waits = [wait.next(cost) for _ in range(12)]
    assert waits[0] == max(2.0, 20 * cost)
    assert waits == sorted(waits)
    assert all(cost <= 0.05 * w + 1e-9 and w <= 45.0 for w in waits)
    assert waits[-1] == 45.0
    wait.reset()
    assert wait.next(cost) == waits[0]
