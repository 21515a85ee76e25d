"""What the command line says of itself: help, the commands of `do`, completion by the shell."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from gateway.cli import access, daemon, do, page, simulate, token, walk, wire  # noqa: F401 - each brings its commands
from gateway.cli.group import commands
from tests.cli.test_command_line import MINIMAL, command

PROGRAM = Path(sys.executable).parent / "site-gateway"
SITE = (
    MINIMAL.replace("p: {at: holding 0}", "p: {at: holding 0}, q: {at: coil 1, write: true}")
    + "zones: {b3: {}, b4: {}}\ngates: {north: {open: d.q}}\n"
)


def every(group: click.Command, *words: str) -> list[tuple[str, ...]]:
    if not isinstance(group, click.Group):
        return [words]
    return [words, *(found for name, one in group.commands.items() for found in every(one, *words, name))]


@pytest.mark.parametrize("words", every(commands), ids=" ".join)
def test_no_help_shows_a_mark_of_the_library(words: tuple[str, ...]) -> None:
    done = command(*words, "--help")
    assert done.returncode == 0
    assert "\\b" not in done.stdout
    assert "\b" not in done.stdout
    assert "Example" in done.stdout


@pytest.mark.parametrize("words", [(), ("site.yaml",)])
def test_do_without_a_command_lists_all_with_their_arguments(words: tuple[str, ...]) -> None:
    done = command("do", *words)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert "gate.open gate=NAME [reason=TEXT]" in lines
    assert "alarm.silence" in lines
    assert "alarm.verify alarm=NAME result=real|false|test|unknown [cause=TEXT]" in lines
    assert "zone.test zone=NAME for=30m [note=TEXT]" in lines


def test_do_with_half_a_command_says_what_belongs_to_it(tmp_path: Path) -> None:
    done = command("do", tmp_path / "site.yaml", "gate.open")
    assert done.returncode == 64
    assert "It is: gate.open gate=NAME" in done.stderr


def completed(folder: Path, *words: str) -> list[str]:
    """What bash is offered for the last word."""
    line = ["site-gateway", *words]
    asked = {"_SITE_GATEWAY_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(line), "COMP_CWORD": str(len(words))}
    done = subprocess.run(
        [PROGRAM], env={**os.environ, **asked}, cwd=folder, capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stderr == ""
    return [row.partition(",")[2] for row in done.stdout.splitlines() if row]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["wa"], ["walk", "watch"]),
        (["read", "si"], ["site.yaml"]),
        (["read", "site.yaml", "d"], ["d", "d.p", "d.q"]),
        (["write", "site.yaml", "d."], ["d.q"]),
        (["walk", "site.yaml", "--zone", "b"], ["b3", "b4"]),
        (["do", "site.yaml", "gate."], ["gate.hold", "gate.open", "gate.release"]),
        (["do", "site.yaml", "gate.open", "ga"], ["gate="]),
        (["do", "site.yaml", "zone.test", "zone=b"], ["zone=b3", "zone=b4"]),
        (["do", "site.yaml", "alarm.verify", "result=r"], ["result=real"]),
        (["read", "missing.yaml", "d"], []),
    ],
)
def test_the_shell_completes_names_of_the_site(tmp_path: Path, words: list[str], offered: list[str]) -> None:
    (tmp_path / "site.yaml").write_text(SITE)
    assert completed(tmp_path, *words) == offered


def test_the_command_line_prints_by_what_makes_it_harmless_only() -> None:
    folder = Path(__file__).parents[2] / "gateway" / "cli"
    raw = [path.name for path in folder.glob("*.py") if "click.echo(" in path.read_text(encoding="utf-8")]
    assert raw == ["group.py"]
