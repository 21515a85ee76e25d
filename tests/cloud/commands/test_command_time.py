"""By which time commands are judged: whatever the clock shows, never earlier than before; and the birth of a store."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from gateway.cloud.commands.command_time import JUMP_S, SAVE_EVERY_S, STEP_S, CommandTime
from gateway.model import Json, Remember
from tests.cloud.journaling import WALL, Hands


@dataclass
class Record:
    """Of a store."""

    born: float


def begun(hands: Hands, born: float = WALL - 1e6, newest: float = 0.0, kept: Json = None) -> CommandTime:
    return CommandTime(Record(born), newest, kept, hands.now())


def kept(time: CommandTime, hands: Hands) -> Json:
    changed = time.changed(hands.now())
    assert isinstance(changed, Remember)
    return changed.value


STEPS = st.lists(st.tuples(st.sampled_from((0.0, 1.0, 600.0, 50_000.0)), st.sampled_from((-3e8, -3600.0, 0.0, 3600.0))))


@given(steps=STEPS, synced=st.booleans())
def test_the_floor_runs_with_the_monotonic_clock_and_never_back(
    *, steps: list[tuple[float, float]], synced: bool
) -> None:
    hands = Hands(synced=synced)
    time = begun(hands, newest=WALL)
    floor = time.floor(hands.now())
    assert floor == WALL
    for seconds, shift in steps:
        hands.run(seconds)
        hands.wall += shift
        before, floor = floor, time.floor(hands.now())
        assert floor >= before + seconds


def test_a_jump_of_years_becomes_the_floor_after_a_day() -> None:
    hands = Hands()
    time = begun(hands, newest=WALL)
    hands.wall += 10 * 365 * JUMP_S
    assert time.floor(hands.now()) == WALL
    hands.wall -= 10 * 365 * JUMP_S
    assert time.floor(hands.run(JUMP_S)) == WALL + JUMP_S, "one wrong answer locks nobody out"
    hands.wall += 365 * JUMP_S
    time.floor(hands.now())
    assert time.floor(hands.run(JUMP_S - 1)) < hands.wall
    assert time.floor(hands.run(1)) == hands.wall


def test_the_floor_outlives_the_process_though_nothing_happens() -> None:
    hands = Hands()
    time = begun(hands, newest=WALL)
    kept(time, hands)
    hands.run(SAVE_EVERY_S - 1)
    assert time.changed(hands.now()) is None
    hands.run(1)
    memory = kept(time, hands)
    hands.wall -= 3600.0
    assert begun(hands, newest=WALL, kept=memory).floor(hands.now()) == WALL + SAVE_EVERY_S


def test_a_store_that_cannot_be_read_knows_nothing_of_before() -> None:
    hands = Hands()
    time = begun(hands, born=0.0)
    hands.run(10.0)
    assert time.born(hands.now()) == WALL
    assert begun(hands, born=0.0).born(hands.now()) == WALL + 10.0


def test_the_birth_of_a_store_begun_in_1970_is_corrected_once_the_clock_is_set() -> None:
    hands = Hands(wall=100.0, synced=False)
    time = begun(hands, born=100.0)
    assert time.born(hands.run(50.0)) == 100.0
    hands.wall = WALL  # by hand: it is still not synced
    assert time.born(hands.now()) == WALL - 50.0
    memory = kept(time, hands)
    hands.wall, hands.synced = WALL + STEP_S, True
    after = begun(hands, born=100.0, kept=memory)
    assert after.born(hands.now()) == WALL + STEP_S, "at the latest when this process began"
    assert begun(hands, born=100.0, kept=kept(after, hands)).born(hands.run(60.0)) == WALL + STEP_S


def test_the_birth_of_a_store_begun_by_a_clock_that_ran_ahead_is_corrected_too() -> None:
    hands = Hands(wall=WALL + 3e8, synced=False)
    time = begun(hands, born=hands.wall)
    hands.run(50.0)
    hands.wall, hands.synced = WALL, True
    assert time.born(hands.now()) == WALL - 50.0


def test_a_birth_that_was_trusted_is_never_changed() -> None:
    hands = Hands()
    time = begun(hands, born=WALL)
    hands.wall -= 3600.0
    assert time.born(hands.now()) == WALL
    hands.wall += 3 * 3600.0
    assert time.born(hands.now()) == WALL


def test_a_memory_that_is_set_aside_is_a_new_birth() -> None:
    hands = Hands()
    record = Record(WALL - 1e6)
    time = CommandTime(record, WALL, None, hands.now())
    kept(time, hands)
    assert time.born(hands.now()) == WALL - 1e6
    record.born = hands.run(5.0).wall
    assert time.born(hands.now()) == WALL + 5.0
    memory = kept(time, hands)
    assert CommandTime(record, WALL, memory, hands.run(60.0)).born(hands.now()) == WALL + 5.0
