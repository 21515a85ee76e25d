"""What a start does about a site file on trial, and whether that has proved itself."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.runtime.trial import STARTS, STEADY_S, Pending, Phase, Step, Trial, Verdict, step

PENDING = Pending("id", Phase.TRIAL, "new", "old", 60.0, ("a", "b"), "who")


@pytest.mark.parametrize(
    ("phase", "starts", "present", "then"),
    [
        (Phase.TRIAL, 0, "new", Step.TRY),
        (Phase.TRIAL, STARTS - 1, "new", Step.TRY),
        (Phase.TRIAL, STARTS, "new", Step.ROLL_BACK),
        (Phase.TRIAL, 0, "old", Step.FORGET),
        (Phase.TRIAL, 1, "a person's", Step.FORGET),
        (Phase.TRIAL, 1, None, Step.FORGET),
        (Phase.BACK, 1, "new", Step.ROLL_BACK),
        (Phase.BACK, 1, "old", Step.TELL_BACK),
        (Phase.BACK, 1, "a person's", Step.TELL_BACK),
    ],
)
def test_a_start(phase: Phase, starts: int, present: str | None, then: Step) -> None:
    assert step(replace(PENDING, phase=phase, starts=starts), present) is then


def test_all_lines_and_the_broker() -> None:
    trial = Trial(PENDING, 100.0, {"a", "b", "c"})
    assert trial.judge(101.0, {"a"}, connected=False) is Verdict.WAIT
    assert trial.judge(110.0, {"b", "c"}, connected=False) is Verdict.WAIT
    assert trial.judge(111.0, {"c"}, connected=True) is Verdict.KEEP


def test_it_has_to_live_a_while() -> None:
    trial = Trial(PENDING, 100.0, {"a", "b"})
    assert trial.judge(100.1, {"a", "b"}, connected=True) is Verdict.WAIT
    assert trial.judge(100.0 + STEADY_S, {"a", "b"}, connected=True) is Verdict.KEEP


@pytest.mark.parametrize(
    ("answering", "connected", "reason"),
    [
        ({"a"}, True, "no answer on b"),
        ({"a", "b"}, False, "the broker was not reached"),
        (set(), False, "no answer on a, b; the broker was not reached"),
    ],
)
def test_what_is_missing_when_the_time_is_over(answering: set[str], reason: str, *, connected: bool) -> None:
    trial = Trial(PENDING, 100.0, {"a", "b"})
    assert trial.judge(159.9, answering, connected=connected) is Verdict.WAIT
    assert trial.judge(160.0, answering, connected=connected) is Verdict.BACK
    assert trial.reason() == reason


def test_a_line_that_is_gone_on_purpose_is_not_asked_for() -> None:
    assert Trial(PENDING, 0.0, {"a"}).judge(10.0, {"a"}, connected=True) is Verdict.KEEP


@given(
    st.lists(st.tuples(st.floats(0, 5), st.sets(st.sampled_from("abc")), st.booleans()), max_size=30),
    st.sets(st.sampled_from("abc")),
)
def test_it_ends_in_time_and_never_for_nothing(looks: list[tuple[float, set[str], bool]], lines: set[str]) -> None:
    trial = Trial(PENDING, 0.0, lines)
    now, seen, reached = 0.0, set[str](), False
    for passed, answering, connected in looks:
        now += passed
        seen |= answering
        reached = reached or connected
        verdict = trial.judge(now, answering, connected=connected)
        proved = reached and seen >= {"a", "b"} & lines
        if verdict is Verdict.KEEP:
            assert proved
        elif verdict is Verdict.BACK:
            assert now >= 60.0
            assert not proved
        else:
            assert now < 60.0
            assert not proved or now < STEADY_S
