"""Another version on trial: kept, or gone back from and told; and which version runs, in words."""

import asyncio
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway import __version__
from gateway.clock import Clock
from gateway.model import Emit, Remember
from gateway.package import PREVIOUS, STATE, TREE, Package, package
from gateway.runtime.upgrade import TOLD, Upgrade
from tests.runtime.test_reconfigure import Around

NOTE = {"kept": "0.0.1", "lines": ["a", "b"], "connected": True, "trial": 300}
TRIAL = {"version": __version__, "phase": "trial", "starts": 1, "id": "one"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A package on trial, with the one before it."""
    for place, version in ((TREE, __version__), (f"{PREVIOUS}/0.0.1", "0.0.1")):
        (tmp_path / place / "gateway").mkdir(parents=True)
        (tmp_path / place / "VERSION").write_text(f"{version}\n")
    (tmp_path / STATE).parent.mkdir(parents=True)
    write(tmp_path / PREVIOUS / "note.json", NOTE)
    write(tmp_path / STATE, TRIAL)
    return tmp_path


def write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content))


def installed(root: Path) -> Package:
    found = package(root / TREE)
    assert found is not None
    return found


def previous(root: Path) -> Package:
    found = package(root / PREVIOUS / "0.0.1")
    assert found is not None
    return found


class Timed(Clock):
    """Each look is a second later."""

    def __init__(self) -> None:
        self.seconds = 0.0
        super().__init__(mono=self._later)

    def _later(self) -> float:
        self.seconds += 1.0
        return self.seconds


class Later(Around):
    """What a trial goes by, as it is after so many seconds."""

    def __init__(
        self, clock: Timed, lines: str, answering: Callable[[float], set[str]], connected: Callable[[float], bool]
    ) -> None:
        super().__init__()
        self._clock = clock
        self._lines = lines
        self._answering = answering
        self._connected = connected

    def lines(self) -> set[str]:
        return {*self._lines}

    def answering(self) -> set[str]:
        return self._answering(self._clock.seconds)

    def connected(self) -> bool:
        return self._connected(self._clock.seconds)


async def watched(
    root: Path, answering: Callable[[float], set[str]], connected: Callable[[float], bool], lines: str = "ab"
) -> tuple[str | None, float]:
    """What a trial came to, and after how many seconds."""
    clock = Timed()
    upgrade = Upgrade(installed(root))
    upgrade.ready.set()
    async with asyncio.timeout(20):
        around = Later(clock, lines, answering, connected)
        reason = await upgrade.watch(clock, around, every=0)
    return reason, clock.seconds


def state(root: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((root / STATE).read_text())
    return found


def test_a_checkout_is_no_package(root: Path) -> None:
    assert package() is None
    assert package(root / "usr/lib/other") is None
    assert not Upgrade().on_trial
    assert (installed(root).is_previous, previous(root).is_previous) == (False, True)
    assert installed(root).root == previous(root).root == root


async def test_a_version_with_all_lines_and_the_broker_is_kept_once_it_has_lived(root: Path) -> None:
    reason, after = await watched(root, lambda _: {"a", "b"}, lambda _: True)
    assert reason is None
    assert 75 <= after <= 85
    assert state(root)["phase"] == "kept"
    assert not Upgrade(installed(root)).on_trial


async def test_a_line_or_a_broker_that_comes_late_is_in_time(root: Path) -> None:
    reason, after = await watched(root, lambda t: {"a"} if t < 200 else {"b"}, lambda t: t > 250)
    assert reason is None
    assert 250 <= after <= 260


@pytest.mark.parametrize(
    ("answering", "connected", "why"),
    [({"a"}, True, "no answer on b"), ({"a", "b"}, False, "the broker was not reached")],
)
async def test_what_stays_away_ends_the_trial(root: Path, answering: set[str], connected: bool, why: str) -> None:
    reason, after = await watched(root, lambda _: answering, lambda _: connected)
    assert reason == f"{__version__} is rolled back: {why}"
    assert 300 <= after <= 310
    assert (state(root)["phase"], state(root)["reason"]) == ("back", why)


async def test_what_was_away_before_is_not_asked_for(root: Path) -> None:
    write(root / PREVIOUS / "note.json", NOTE | {"lines": ["a"], "connected": False})
    reason, _ = await watched(root, lambda _: {"a"}, lambda _: False)
    assert reason is None


async def test_a_line_that_the_site_file_no_longer_has_is_not_asked_for(root: Path) -> None:
    reason, _ = await watched(root, lambda _: {"a"}, lambda _: True, lines="a")
    assert reason is None


def test_an_orderly_end_is_no_failed_start(root: Path) -> None:
    Upgrade(installed(root)).stopped()
    assert state(root)["starts"] == 0


@pytest.mark.parametrize("changed", [{"phase": "kept"}, {"phase": "back"}, {"version": "9"}])
def test_only_the_installed_version_that_has_not_proved_itself_is_on_trial(root: Path, changed: dict[str, str]) -> None:
    assert Upgrade(installed(root)).on_trial
    assert not Upgrade(previous(root)).on_trial
    write(root / STATE, TRIAL | changed)
    assert not Upgrade(installed(root)).on_trial


def test_without_a_tree_to_go_back_to_there_is_no_trial(root: Path) -> None:
    shutil.rmtree(root / PREVIOUS / "0.0.1")
    assert not Upgrade(installed(root)).on_trial


def test_a_roll_back_is_told_once_with_both_versions(root: Path) -> None:
    write(root / STATE, TRIAL | {"phase": "back", "reason": "no answer on b", "version": "9.9.9"})
    emit, remember = Upgrade(previous(root)).told({}, Clock().now())
    assert isinstance(emit, Emit)
    assert isinstance(remember, Remember)
    assert emit.type == "config.rolled-back"
    told = {"by": "package", "reason": "no answer on b", "version": __version__, "rolled_back": "9.9.9"}
    assert emit.data == told
    assert Upgrade(previous(root)).told({TOLD: "one"}, Clock().now()) == []
    assert Upgrade(installed(root)).told({}, Clock().now()) == []


def test_the_version_that_runs_in_words(root: Path) -> None:
    assert installed(root).words() == __version__
    write(root / STATE, TRIAL | {"phase": "back", "version": "9.9.9"})
    assert previous(root).words() == f"{__version__}, after 9.9.9 was rolled back"
    (root / PREVIOUS / "unpacking").touch()
    assert previous(root).words() == f"{__version__}, while another version is not wholly unpacked"


@pytest.mark.parametrize("changed", [{"phase": "back", "starts": 0}, {"version": "9"}, {"upgrade": "another"}])
async def test_what_another_process_has_decided_meanwhile_holds(root: Path, changed: dict[str, object]) -> None:
    """`upgrade --undo` writes, and then stops this process."""
    upgrade = Upgrade(installed(root))
    upgrade.ready.set()
    write(root / STATE, TRIAL | changed)
    clock = Timed()
    async with asyncio.timeout(20):
        around = Later(clock, "ab", lambda _: {"a", "b"}, lambda _: True)
        assert await upgrade.watch(clock, around, every=0) is None
    upgrade.stopped()
    assert state(root) == TRIAL | changed


def test_an_orderly_end_leaves_a_way_back_that_was_asked_for(root: Path) -> None:
    upgrade = Upgrade(installed(root))
    write(root / STATE, TRIAL | {"phase": "back", "starts": 0})
    upgrade.stopped()
    assert state(root) == TRIAL | {"phase": "back", "starts": 0}


@pytest.mark.timeout(20)
def test_no_pipe_or_link_in_the_place_of_the_state_is_waited_for(root: Path) -> None:
    (root / STATE).unlink()
    os.mkfifo(root / STATE)
    assert installed(root).state() == {}
    (root / STATE).unlink()
    (root / STATE).symlink_to(root / PREVIOUS / "note.json")
    assert installed(root).state() == {}


def test_the_schema_of_the_store_is_noted(root: Path) -> None:
    Upgrade(installed(root)).opened(4)
    assert state(root)["schema"] == 4


def test_a_store_is_made_for_the_version_before_until_the_trial_is_over(root: Path) -> None:
    kept = root / PREVIOUS / "0.0.1"
    assert Upgrade(installed(root)).schema(6) == 0, "of a version that does not say what it reads no store is made"
    (kept / "SCHEMA").write_text("5\n")
    assert [Upgrade(installed(root)).schema(newest) for newest in (4, 5, 6)] == [4, 5, 5]
    assert Upgrade(previous(root)).schema(5) == 5
    write(root / STATE, TRIAL | {"phase": "kept"})
    assert Upgrade(installed(root)).schema(6) == 6
    assert Upgrade().schema(6) == 6


def test_a_state_that_cannot_be_written_is_no_end(root: Path) -> None:
    (root / STATE).unlink()
    shutil.rmtree((root / STATE).parent)
    upgrade = Upgrade(installed(root))
    assert not upgrade.on_trial
    upgrade.stopped()
    upgrade.opened(4)


async def test_a_version_that_is_not_ready_proves_nothing(root: Path) -> None:
    async def until_ready() -> None:
        clock = Timed()
        around = Later(clock, "ab", lambda _: {"a", "b"}, lambda _: True)
        await Upgrade(installed(root)).watch(clock, around, every=0)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await until_ready()
    assert state(root)["phase"] == "trial"
