"""Which inputs are refused: never more than what ended the process, and always that."""

import os
import subprocess
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import (
    Answer,
    DeviceHealth,
    Input,
    Instant,
    LineHealth,
    Quality,
    Reading,
    Started,
    Stopping,
    Tick,
    Value,
)
from gateway.runtime.poison import Poison

ROOT = Path(__file__).parents[2]
URGENT: Mapping[str, Collection[str]] = {"smoke": {"smoke"}}


def at(seconds: float) -> Instant:
    return Instant(seconds, 1_795_000_000.0 + seconds, synced=True)


def answer(seconds: float = 0.0, device: str = "smoke", **values: Value | None) -> Answer:
    readings = {
        point: Reading(value, None, None, Quality.BAD if value is None else Quality.GOOD, None, at(seconds))
        for point, value in values.items()
    }
    return Answer(device, readings, at(seconds))


def started(folder: Path, version: str = "1") -> Poison:
    poison = Poison(folder / "poison", version, URGENT)
    poison.load()
    return poison


def seen(poison: Poison, item: Input) -> list[dict[str, object]]:
    """What of an answer is decided, in turn."""
    return [
        {point: reading.value for point, reading in admitted.readings.items()}
        for admitted in poison.admit(item)
        if isinstance(admitted, Answer)
    ]


def test_nothing_is_refused_at_first(tmp_path: Path) -> None:
    item = answer(smoke=1, battery=3)
    assert [*started(tmp_path).admit(item)] == [item]


def test_refused_after_the_second_death_whatever_the_time(tmp_path: Path) -> None:
    started(tmp_path).blame(answer(1.0, smoke=1))
    poison = started(tmp_path)
    assert seen(poison, answer(2.0, smoke=1)) == [{"smoke": 1}]
    poison.blame(answer(2.0, smoke=1))

    poison = started(tmp_path)
    assert seen(poison, answer(3.0, smoke=1)) == []
    assert poison.refused == ["smoke.smoke"]
    assert poison.refusals == 1


def test_the_other_values_points_and_devices_go_on(tmp_path: Path) -> None:
    for _ in range(2):
        started(tmp_path).blame(answer(smoke=1))
    poison = started(tmp_path)

    assert seen(poison, answer(smoke=0)) == [{"smoke": 0}]
    assert seen(poison, answer(smoke=None)) == [{"smoke": None}]
    assert seen(poison, answer(smoke=1, battery=3)) == [{"battery": 3}]
    assert seen(poison, answer(device="other", smoke=1)) == [{"smoke": 1}]


def test_of_a_crowd_of_points_only_the_one_at_fault_is_refused(tmp_path: Path) -> None:
    started(tmp_path).blame(answer(smoke=0, battery=7, temperature=21))
    poison = started(tmp_path)
    # After the restart the device answers with one point more.
    parts = [*poison.admit(answer(smoke=0, battery=7, temperature=21, dirt=2))]
    assert [[*part.readings] for part in parts if isinstance(part, Answer)] == [
        ["dirt"],
        ["smoke"],
        ["battery"],
        ["temperature"],
    ]
    poison.blame(parts[2])

    poison = started(tmp_path)
    assert poison.refused == ["smoke.battery"]
    assert seen(poison, answer(smoke=0, battery=7, temperature=21)) == [{"smoke": 0}, {"temperature": 21}]


def test_a_number_that_moves_does_not_end_the_process_for_ever(tmp_path: Path) -> None:
    for value in (20.1, 20.2, 20.3):
        for _ in range(2):
            poison = started(tmp_path)
            assert seen(poison, answer(temperature=value))
            poison.blame(answer(temperature=value))
    poison = started(tmp_path)
    assert seen(poison, answer(temperature=20.4, smoke=1)) == [{"smoke": 1}]


def test_an_alarm_point_is_refused_by_value_until_it_has_been_many(tmp_path: Path) -> None:
    for value in range(10, 17):
        for _ in range(2):
            started(tmp_path).blame(answer(smoke=value))
    poison = started(tmp_path)
    assert seen(poison, answer(smoke=15)) == []
    assert seen(poison, answer(smoke=1)) == [{"smoke": 1}]


def test_health_is_known_again_whatever_its_words(tmp_path: Path) -> None:
    for number in range(2):
        started(tmp_path).blame(DeviceHealth("smoke", False, f"{number} reads", at(number)))
    poison = started(tmp_path)
    assert [*poison.admit(DeviceHealth("smoke", False, "3 reads", at(9.0)))] == []
    for good in (DeviceHealth("smoke", True, "", at(9.0)), LineHealth("smoke", False, "", at(9.0))):
        assert [*poison.admit(good)] == [good]


def test_a_command_is_known_again_in_another_process(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from gateway import log
from gateway.model import Command, Instant
from gateway.runtime.poison import Poison
log.configure()
poison = Poison(Path(sys.argv[1]), "1")
poison.load()
names = frozenset(f"name-{number}" for number in range(20))
command = Command("jti", "iss", "sub", "kid", names, "read", {"device": "d"}, 9.0, None, Instant(1.0, 2.0, True))
print(len([*poison.admit(command)]))
poison.blame(command)
"""
    command = (sys.executable, "-c", script, str(tmp_path / "poison"))
    said = [
        subprocess.run(
            command, check=True, capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": seed}
        ).stdout.splitlines()[0]
        for seed in ("1", "2", "3")
    ]
    assert said == ["1", "1", "0"]


@pytest.mark.parametrize("item", [Tick(at(1.0)), Started(at(1.0), "1", None), Stopping(at(1.0), "asked")])
def test_what_has_no_content_is_never_refused_but_blames_the_memory(tmp_path: Path, item: Input) -> None:
    for _ in range(3):
        assert not started(tmp_path).hollow
        started(tmp_path).blame(item)
    poison = started(tmp_path)
    assert [*poison.admit(item)] == [item]
    assert poison.hollow

    poison.forgive()

    assert not started(tmp_path).hollow


def test_another_version_begins_with_nothing_refused(tmp_path: Path) -> None:
    for _ in range(2):
        started(tmp_path).blame(answer(smoke=1))
    assert seen(started(tmp_path, "2"), answer(smoke=1)) == [{"smoke": 1}]


@given(st.data())
def test_a_torn_or_garbled_file_is_no_trouble(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("poison")
    for _ in range(2):
        started(folder).blame(answer(smoke=1))
    whole = (folder / "poison").read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    (folder / "poison").write_bytes(whole[:cut] + data.draw(st.binary(max_size=50)))

    poison = started(folder)

    assert seen(poison, answer(smoke=0)) == [{"smoke": 0}]
    poison.blame(answer(smoke=2))
    assert started(folder).admit(answer(smoke=0))


def test_the_file_is_bounded(tmp_path: Path) -> None:
    poison = started(tmp_path)
    crowd = Answer(
        "big", {f"point-{number}": answer(smoke=number).readings["smoke"] for number in range(1000)}, at(0.0)
    )
    for number in range(50):
        poison.blame(answer(smoke=number))
        poison.blame(crowd)
    assert (tmp_path / "poison").stat().st_size <= 256 << 10
    assert seen(started(tmp_path), answer(smoke=99)) == [{"smoke": 99}]


def test_without_a_store_everything_is_let_in(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("in the way")
    poison = started(tmp_path / "store")
    poison.blame(answer(smoke=1))
    assert seen(started(tmp_path / "store"), answer(smoke=1)) == [{"smoke": 1}]
