"""The launcher picks a tree: the installed one, or the one that was kept, whatever state an upgrade was left in."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.building import PACKAGING

SAYS = """
import os, sys
def main():
    print({version!r}, sys.path[0])
    {then}
"""


class Machine:
    """A root with an installed version, perhaps a kept one, and what became of an upgrade."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.previous = root / "usr/lib/site-gateway-previous"
        self.state = root / "var/lib/site-gateway/upgrade.json"
        self.launcher = root / "usr/bin/site-gateway"
        self.launcher.parent.mkdir(parents=True)
        self.state.parent.mkdir(parents=True)
        shutil.copy(PACKAGING / "launcher", self.launcher)
        self.version("usr/lib/site-gateway", "2")

    def version(self, place: str, version: str, then: str = "sys.exit(0)") -> None:
        package = self.root / place / "gateway"
        package.mkdir(parents=True, exist_ok=True)
        (package / "__init__.py").touch()
        (package / "cli.py").write_text(SAYS.format(version=version, then=then))
        (package.parent / "VERSION").write_text(f"{version}\n")

    def keep(self, version: str = "1") -> None:
        self.version(f"usr/lib/site-gateway-previous/{version}", version)
        (self.previous / "note.json").write_text(json.dumps({"kept": version}))

    def start(self, *words: str, service: bool = True) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.environ["PATH"]} | ({"INVOCATION_ID": "x"} if service else {})
        command = [sys.executable, "-IS", str(self.launcher), *(words or ("run", "site.yaml"))]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=20, env=environment)

    def runs(self, *words: str, service: bool = True) -> str:
        told = self.start(*words, service=service)
        assert told.stdout, told.stderr
        return told.stdout.split()[0]

    def told(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.state.read_text())
        return found


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_what_it_agrees_on_with_every_version(machine: Machine) -> None:
    """The launcher is always the installed version's, and runs the one before: it asks `main` of a tree, no more.

    What either reads of the other's files stays (`gateway/package.py`); more may come.
    """
    machine.keep()
    says = "import sys\ndef main():\n    print(sys.argv)\n"
    for tree in (machine.root / "usr/lib/site-gateway", machine.previous / "1"):
        (tree / "gateway/cli.py").write_text(says)
    (machine.previous / "1/VERSION").unlink()
    words = [str(machine.launcher), "run", "site.yaml"]
    assert [machine.start().stdout for _ in range(4)] == [f"{words}\n"] * 4
    assert machine.told().keys() >= {"version", "upgrade", "phase", "starts", "id", "reason"}
    assert machine.told()["phase"] == "back"


def test_a_first_installation_is_no_trial(machine: Machine) -> None:
    assert machine.runs() == "2"
    assert not machine.state.exists()


def test_each_start_of_another_version_counts_and_the_fourth_is_of_the_one_before(machine: Machine) -> None:
    machine.keep()
    assert [machine.runs() for _ in range(3)] == ["2", "2", "2"]
    assert (machine.told()["phase"], machine.told()["starts"]) == ("trial", 3)
    assert [machine.runs() for _ in range(3)] == ["1", "1", "1"]
    assert (machine.told()["phase"], machine.told()["version"]) == ("back", "2")
    assert machine.runs("status", service=False) == "1"


def test_what_a_person_starts_counts_nothing(machine: Machine) -> None:
    machine.keep()
    assert [machine.runs("run", "x", service=False) for _ in range(5)] == ["2"] * 5
    assert [machine.runs("check", "x") for _ in range(5)] == ["2"] * 5
    assert not machine.state.exists()


def test_a_version_that_was_kept_runs_for_ever(machine: Machine) -> None:
    machine.keep()
    machine.state.write_text(json.dumps({"version": "2", "phase": "kept", "starts": 1, "id": "a"}))
    assert [machine.runs() for _ in range(5)] == ["2"] * 5


def test_another_version_is_a_new_trial(machine: Machine) -> None:
    machine.keep()
    machine.state.write_text(json.dumps({"version": "1.9", "phase": "back", "starts": 4, "id": "a"}))
    assert machine.runs() == "2"
    assert (machine.told()["version"], machine.told()["phase"], machine.told()["starts"]) == ("2", "trial", 1)


def test_a_tree_that_is_not_whole_never_runs(machine: Machine) -> None:
    machine.keep()
    (machine.previous / "unpacking").touch()
    shutil.rmtree(machine.root / "usr/lib/site-gateway")
    assert [machine.runs() for _ in range(5)] == ["1"] * 5
    assert not machine.state.exists()


def test_a_trial_that_cannot_be_counted_is_none(machine: Machine) -> None:
    machine.keep()
    shutil.rmtree(machine.state.parent)
    assert machine.runs() == "1"


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "[]", "null", '"x"', '{"version": "2"}', '{"version": "2", "phase": "back"}', "\x00" * 99),
        '{"version": "2", "phase": "trial", "starts": "1", "id": "a"}',
        '{"version": "2", "phase": "trial", "starts": null, "id": "a"}',
        '{"version": "2", "phase": "trial", "starts": 1, "id": ["a"]}',
        "[" * 60_000,
        '{"version": ' + "[" * 60_000,
    ],
    ids=str.__len__,
)
def test_a_state_that_cannot_be_read_is_a_new_trial(machine: Machine, content: str) -> None:
    machine.keep()
    machine.state.write_text(content)
    assert machine.runs() == "2"
    assert machine.told()["starts"] == 1


def test_a_pipe_in_the_place_of_the_state_is_not_waited_for(machine: Machine) -> None:
    machine.keep()
    os.mkfifo(machine.state)
    assert machine.runs() == "2"
    machine.state.unlink()
    os.mkfifo(f"{machine.state}.part")
    assert machine.runs() == "1"


def test_the_same_version_installed_again_is_a_new_trial(machine: Machine) -> None:
    machine.keep()
    gone_back = {"version": "2", "upgrade": "one", "phase": "back", "starts": 4, "id": "a"}
    machine.state.write_text(json.dumps(gone_back))
    (machine.previous / "upgrade").write_text(json.dumps({"id": "one"}))
    assert machine.runs() == "1"
    (machine.previous / "upgrade").write_text(json.dumps({"id": "two"}))
    assert machine.runs() == "2"
    assert (machine.told()["upgrade"], machine.told()["phase"], machine.told()["starts"]) == ("two", "trial", 1)
    assert machine.runs() == "2"
    assert machine.told()["starts"] == 2


@pytest.mark.parametrize("content", [b"\xff\xfe2", None])
def test_an_installed_tree_whose_version_cannot_be_read_never_runs(machine: Machine, content: bytes | None) -> None:
    machine.keep()
    file = machine.root / "usr/lib/site-gateway/VERSION"
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    assert [machine.runs() for _ in range(5)] == ["1"] * 5


def test_an_installed_tree_without_the_program_never_runs(machine: Machine) -> None:
    machine.keep()
    shutil.rmtree(machine.root / "usr/lib/site-gateway/gateway")
    assert [machine.runs() for _ in range(5)] == ["1"] * 5


def test_whatever_fails_before_a_tree_is_chosen_the_service_is_restarted(machine: Machine) -> None:
    """Status 1 would end it for good."""
    machine.keep()
    text = machine.launcher.read_text()
    machine.launcher.write_text(text.replace("COUNTED = ", "raise RuntimeError\nCOUNTED = "))
    assert machine.start().returncode == 70


@pytest.mark.parametrize("note", ["", "[]", '{"kept": null}', '{"kept": "9"}', '{"kept": "../site-gateway"}'])
def test_a_note_that_leads_nowhere_leaves_the_installed_version(machine: Machine, note: str) -> None:
    machine.keep()
    (machine.previous / "note.json").write_text(note)
    assert machine.runs() == "2"


@pytest.mark.parametrize(
    ("then", "on_trial", "after"),
    [
        ("sys.exit(0)", 0, 0),
        ("sys.exit(1)", 75, 1),
        ("sys.exit(64)", 75, 64),
        ("sys.exit(2)", 2, 2),
        ("raise ValueError", 70, 70),
        ("import nowhere", 70, 70),
    ],
)
def test_no_status_of_a_version_on_trial_ends_the_service_for_good(
    machine: Machine, then: str, on_trial: int, after: int
) -> None:
    machine.version("usr/lib/site-gateway", "2", then)
    machine.keep()
    assert machine.start().returncode == on_trial
    machine.state.write_text(json.dumps({"version": "2", "phase": "kept", "starts": 1, "id": "a"}))
    assert machine.start().returncode == after


def test_a_version_that_does_not_even_load_is_gone_back_from(machine: Machine) -> None:
    machine.keep()
    (machine.root / "usr/lib/site-gateway/gateway/cli.py").write_text("import nowhere\n")
    assert [machine.start().returncode for _ in range(3)] == [70, 70, 70]
    assert machine.runs() == "1"
