"""`site-gateway do` where no daemon runs, or nothing sensible is asked; else: tests/end_to_end/test_fire_gates.py."""

from pathlib import Path

import pytest

from tests.cli.test_command_line import MINIMAL, command


@pytest.fixture
def site(tmp_path: Path) -> Path:
    path = tmp_path / "site.yaml"
    path.write_text(f"{MINIMAL}store: {{path: {tmp_path / 'store'}}}\n")
    return path


def test_help_has_an_example() -> None:
    done = command("do", "--help")

    assert done.returncode == 0
    assert "Example: site-gateway do" in done.stdout


def test_no_daemon_runs(site: Path) -> None:
    done = command("do", site, "gate.open", "gate=north", "--by", "zhang")

    assert (done.returncode, done.stdout) == (3, "")
    assert "no daemon answers" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("gate.open", "gate=north"),
        ("gate.open", "north", "--by", "zhang"),
        ("gate.open", "=north", "--by", "zhang"),
        ("gate.open", "gate=north", "gate=south", "--by", "zhang"),
        ("gate.open", "gate=north", "--by", "zhang", "--role", "owner"),
    ],
)
def test_a_wrong_command_line(site: Path, arguments: tuple[str, ...]) -> None:
    done = command("do", site, *arguments)

    assert done.returncode == 64
    assert "Traceback" not in done.stderr
