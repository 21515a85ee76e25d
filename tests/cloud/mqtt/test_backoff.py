from hypothesis import given
from hypothesis import strategies as st

from gateway.cloud.mqtt.backoff import LONGEST_S, Reconnection
from tests.chance import Drawn

chances = st.floats(0.0, 1.0, exclude_max=True)


@given(st.lists(st.tuples(st.floats(0.0, 400.0), st.booleans(), chances), min_size=1, max_size=60))
def test_waits_stay_within_their_bounds(failures: list[tuple[float, bool, float]]) -> None:
    drawn = Drawn(0.0)
    reconnection = Reconnection(drawn)
    now = 0.0
    for step, refused, chance in failures:
        now += step
        drawn.always = chance
        reconnection.failed(now, refused=refused)
        assert 0.0 <= reconnection.wait(urgent=False) <= LONGEST_S
        if refused:
            assert 2.5 <= reconnection.wait(urgent=True) <= 5.0
        else:
            assert 0.0 <= reconnection.wait(urgent=True) < 1.0


def test_a_broker_that_restarts_is_found_within_a_second_and_a_long_outage_backs_off() -> None:
    reconnection = Reconnection(Drawn(0.999))
    for second in range(300):
        reconnection.failed(float(second), refused=False)
        assert reconnection.wait(urgent=False) < 1.0
    now = 300.0
    for _ in range(10):
        reconnection.failed(now, refused=False)
        now += reconnection.wait(urgent=False)
    assert 50.0 < reconnection.wait(urgent=False) <= LONGEST_S


def test_the_back_off_is_forgotten_only_after_a_while_up() -> None:
    reconnection = Reconnection(Drawn(0.999))
    for n in range(10):
        reconnection.failed(400.0 * n, refused=False)
    long = reconnection.wait(urgent=False)
    reconnection.connected(5000.0)
    reconnection.failed(5005.0, refused=False)
    assert reconnection.wait(urgent=False) >= long
    reconnection.connected(5010.0)
    reconnection.failed(5060.0, refused=False)
    assert reconnection.wait(urgent=False) <= 0.5
