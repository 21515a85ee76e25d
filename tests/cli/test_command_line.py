"""The command line as a shell sees it: exit status, streams, no traceback."""

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest

from gateway.config.profiles import shipped

EXAMPLE = shipped().parent / "example.yaml"
MINIMAL = """\
version: 1
site: {id: s}
gateway: g
uplink: {url: "mqtt://127.0.0.1:1883"}
lines: {a: {driver: modbus, tcp: "127.0.0.1:1"}}
devices: {d: {line: a, points: {p: {at: holding 0}}}}
"""


def command(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run(
        [sys.executable, "-m", "gateway", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )


@pytest.mark.parametrize(
    "arguments", [(), ("walk-on-water",), ("run",), ("check",), ("check", "a", "b"), ("check", "--nonsense", "x")]
)
def test_a_wrong_command_line_exits_64(arguments: tuple[str, ...]) -> None:
    done = command(*arguments)

    assert done.returncode == 64
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["run", "check", "simulate", "demo", "read", "status", "alarms", "schema"])
def test_every_command_has_help_with_an_example(name: str) -> None:
    done = command(name, "--help")

    assert done.returncode == 0
    assert f"Example: site-gateway {name}" in done.stdout


def test_check_of_a_good_file(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(MINIMAL)

    done = command("check", "site.yaml", cwd=tmp_path)

    assert (done.returncode, done.stdout, done.stderr) == (0, "0 errors, 0 warnings\n", "")


def test_check_folds_what_it_would_say_of_forty_devices(tmp_path: Path) -> None:
    """Forty devices of one kind: one line of each kind of doubt, with a count; `--json` has them all."""
    alarm = "{at: discrete 1, every: 4s, alarms: {fire: {equals: true}}}"
    keys = f"line: a, kind: heat-detector, certified: none, points: {{hot: {alarm}}}"
    devices = "\n".join(f"  one-{n}: {{unit: {n}, {keys}}}" for n in range(1, 41))
    (tmp_path / "site.yaml").write_text(f"{MINIMAL.partition('devices:')[0]}devices:\n{devices}\n")

    done = command("check", "site.yaml", cwd=tmp_path)
    found = json.loads(command("check", "site.yaml", "--json", cwd=tmp_path).stdout)

    shown, last = done.stdout.splitlines()
    assert "devices.one-1: warning: is no certified fire detector" in shown
    assert "; the same 39 times more (lines 8, 9, " in shown
    assert last == "0 errors, 40 warnings"
    assert len(found) == 40


def test_check_of_a_bad_file_as_lines_and_as_json(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(MINIMAL.replace("line: a", "line: b").replace("gateway: g", "gatway: g"))

    lines = command("check", "site.yaml", cwd=tmp_path)
    as_json = command("check", "--json", "site.yaml", cwd=tmp_path)

    assert (lines.returncode, as_json.returncode) == (1, 1)
    problems = json.loads(as_json.stdout)
    assert {frozenset(problem) for problem in problems} == {frozenset(("file", "line", "col", "key", "level", "text"))}
    marks = {"error": "", "warning": "warning: "}
    *shown, last = lines.stdout.splitlines()
    assert last == "3 errors, 1 warnings"
    assert shown == [
        "{file}:{line}:{col}: {key}: ".format(**problem) + marks[problem["level"]] + problem["text"]
        for problem in problems
    ]
    assert any("did you mean 'gateway'?" in problem["text"] for problem in problems)


@pytest.mark.parametrize("name", ["run", "read", "simulate", "status", "alarms"])
def test_a_bad_file_exits_1_with_its_lines(tmp_path: Path, name: str) -> None:
    (tmp_path / "site.yaml").write_text(MINIMAL.replace("line: a", "line: b"))

    done = command(name, "site.yaml", *(["d"] if name == "read" else []), cwd=tmp_path)

    assert done.returncode == 1
    assert "site.yaml:6:" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_run_with_a_store_that_cannot_be_made_still_runs(tmp_path: Path) -> None:
    """A store that is lost is said, not fatal: fire is told from memory."""
    (tmp_path / "file").write_text("")
    (tmp_path / "site.yaml").write_text(MINIMAL + f"store: {{path: {tmp_path}/file/store}}\n")
    with subprocess.Popen(
        [sys.executable, "-m", "gateway", "run", str(tmp_path / "site.yaml")], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(json.loads(line))
            if lines[-1]["event"] == "line down":
                break
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


@pytest.mark.parametrize("name", ["status", "alarms"])
def test_nobody_runs_is_3(tmp_path: Path, name: str) -> None:
    (tmp_path / "site.yaml").write_text(MINIMAL + f"store: {{path: {tmp_path}/store}}\n")

    assert command(name, "site.yaml", cwd=tmp_path).returncode == 3


@pytest.mark.parametrize("what", ["nobody", "d.nothing", "d"])
def test_what_cannot_be_read_is_2(tmp_path: Path, what: str) -> None:
    (tmp_path / "site.yaml").write_text(MINIMAL + f"store: {{path: {tmp_path}/store}}\n")

    done = command("read", "site.yaml", what, cwd=tmp_path)

    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_the_schemas_accept_what_is_shipped() -> None:
    site, profile = (json.loads(command("schema", *more).stdout) for more in ((), ("--profile",)))

    jsonschema.Draft202012Validator.check_schema(site)
    jsonschema.Draft202012Validator.check_schema(profile)


def test_check_of_a_hundred_devices_takes_less_than_a_second(tmp_path: Path) -> None:
    points = ", ".join(f"p{n}: {{at: holding {n}}}" for n in range(25))
    devices = "\n".join(f"  d{n}: {{line: l{n // 25}, unit: {n % 25 + 1}, points: {{{points}}}}}" for n in range(100))
    lines = "\n".join(f"  l{n}: {{driver: modbus, tcp: '127.0.0.{n + 1}:502'}}" for n in range(4))
    head = MINIMAL.split("lines:", maxsplit=1)[0]
    (tmp_path / "site.yaml").write_text(f"{head}lines:\n{lines}\ndevices:\n{devices}\n")

    took = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = command("check", "site.yaml", cwd=tmp_path)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert done.returncode == 0, done.stdout

    assert min(took) < 1.0, "seconds of processor time, of which nothing else on the machine takes any"


def test_simulate_then_run_then_read(tmp_path: Path) -> None:
    """What the README tells a newcomer to do."""
    out = tmp_path / "sim.yaml"
    with subprocess.Popen(
        [sys.executable, "-m", "gateway", "simulate", str(EXAMPLE), "--out", str(out)],
        stdout=subprocess.PIPE,
        text=True,
    ) as virtual:
        assert virtual.stdout is not None
        for line in virtual.stdout:
            if line.startswith("run it with"):
                break
        assert command("check", out).returncode == 0
        directly = command("read", out, "smoke-3-2f.smoke")
        as_json = command("read", out, "smoke-3-2f", "--json")
        virtual.send_signal(signal.SIGTERM)
        assert virtual.wait(10) == 0

    assert (directly.returncode, directly.stdout) == (0, "smoke: 0 normal (GOOD)\n")
    assert json.loads(as_json.stdout)["smoke"]["quality"] == "GOOD"
