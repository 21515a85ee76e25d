"""Deadlines over kills and power cuts while nobody has set the clock."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Effect, Forget, Instant, Json, Remember
from gateway.site.deadlines import PART, Deadlines
from gateway.site.timers import Timers
from tests.site.compound import Compound

LOW = "gauge/level/low"


class Lives:
    """One process after the other over one memory; real time is counted by the test."""

    def __init__(self) -> None:
        self.memory: dict[str, Json] = {}
        self.mono = 1000.0
        self.booted = 0.0
        self.fired: float | None = None
        self.begin()

    @property
    def now(self) -> Instant:
        return Instant(self.mono, 0.0, synced=False)

    @property
    def real(self) -> float:
        return self.booted + self.mono

    def begin(self) -> None:
        self.timers = Timers()
        self.deadlines = Deadlines(self.timers)
        self.deadlines.restore(self.memory)
        self.deadlines.start(self.now)

    def keep(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Remember(key, value):
                    self.memory[key] = value
                case Forget(key):
                    del self.memory[key]

    def run(self, seconds: float) -> None:
        until = self.mono + seconds
        while (due := self.timers.first()) is not None and due <= until:
            self.mono = max(self.mono, due)
            key = self.timers.take(self.mono)
            if key == (PART, ""):
                self.keep(self.deadlines.save(self.now))
            elif key is not None:
                self.fired = self.fired or self.real
                self.keep(self.deadlines.drop(key[1]))
        self.mono = until

    def restart(self, gap: float, *, power_cut: bool) -> None:
        self.mono += max(gap, 5.0) if power_cut else gap
        if power_cut:
            self.booted, self.mono = self.real - 5.0, 5.0
        self.begin()


LIVES = st.lists(st.tuples(st.floats(0.0, 500.0), st.floats(0.0, 200.0)), max_size=8)


@given(before=st.floats(0.0, 400.0), span=st.floats(1.0, 1000.0), lives=LIVES)
def test_over_kills_a_deadline_comes_on_time_to_the_second(
    before: float, span: float, lives: list[tuple[float, float]]
) -> None:
    it = Lives()
    it.keep(it.deadlines.set("first", 1e6, it.now))
    it.run(before)
    it.keep(it.deadlines.set("d", span, it.now))
    due = it.real + span
    for seconds, gap in lives:
        it.run(seconds)
        if it.fired is None:
            begun = it.real + gap
            it.restart(gap, power_cut=False)
            due = max(due, begun)
    it.run(5000.0)
    assert it.fired == pytest.approx(due, abs=1e-3)


@given(span=st.floats(10.0, 1000.0), lives=LIVES)
def test_over_power_cuts_a_deadline_comes_never_early_and_is_never_begun_anew(
    span: float, lives: list[tuple[float, float]]
) -> None:
    it = Lives()
    it.keep(it.deadlines.set("first", 1e6, it.now))
    it.run(300.0)
    it.keep(it.deadlines.set("d", span, it.now))
    begun, lost = it.real, 0.0
    for seconds, gap in lives:
        it.run(seconds)
        if it.fired is None:
            lost += min(seconds, 300.0) + max(gap, 5.0)
            it.restart(gap, power_cut=True)
    it.run(1e5)
    assert it.fired is not None
    assert it.fired >= begun + span - 1e-3
    assert it.fired <= begun + span + lost + 1e-3


def test_ten_seconds_that_were_half_over_are_not_sixteen() -> None:
    site = Compound(synced=False)
    site.command("alarm.shelve", device="tank", for_="1h")
    site.input("gauge.level", 0.5)
    site.wait(50)
    site.command("alarm.shelve", device="gauge", for_="10s")
    site.wait(6)
    site.crash()
    assert site.alarm(LOW)["shelved"] is True
    site.wait(4)
    assert site.alarm(LOW)["shelved"] is False
