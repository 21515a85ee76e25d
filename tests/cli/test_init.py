"""The first site file: every question is an option too, what is on the line is in it, and `check` takes it."""

import asyncio
import signal
from pathlib import Path

import pytest

from gateway.config.load import load
from tests.cli.test_page import program
from tests.foreign.tcp_server import foreign_tcp
from tests.technician.terminal import terminal

OPTIONS = (
    "--site", "xima-xincun", "--name", '西马: "新" 村', "--timezone", "Asia/Shanghai", "--gateway", "xmxc-01",
    "--broker", "mqtts://mqtt.example.com:8883",
)  # fmt: skip


def good(path: Path) -> None:
    loaded = load(path)
    assert [str(problem) for problem in loaded.problems if problem.level == "error"] == []
    assert loaded.site is not None
    assert loaded.site.site.name == '西马: "新" 村'
    assert (loaded.site.site.id, loaded.site.gateway) == ("xima-xincun", "xmxc-01")


@pytest.mark.parametrize("line", [("--serial", "/dev/ttyUSB7"), ("--tcp", "192.0.2.1:502")])
@pytest.mark.parametrize("page", ["--page", "--no-page"])
def test_with_every_option_nothing_is_asked(tmp_path: Path, line: tuple[str, str], page: str) -> None:
    path = tmp_path / "site.yaml"
    done = program("init", path, *OPTIONS, *line, page, "--no-scan")

    assert (done.returncode, done.stdout) == (0, f"{path}: written; site-gateway check {path}\n"), done.stderr
    good(path)
    assert ("http:" in path.read_text()) is (page == "--page")
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("id_", ["007", "yes", "null", "1e5", "true", "0x1f"])
def test_an_id_that_yaml_takes_for_something_else_stays_what_it_is(tmp_path: Path, id_: str) -> None:
    path = tmp_path / "site.yaml"
    done = program(
        "init", path, *OPTIONS, "--site", id_, "--gateway", id_, "--tcp", "192.0.2.1:502", "--page", "--no-scan"
    )
    assert done.returncode == 0, done.stderr
    loaded = load(path)

    assert [str(problem) for problem in loaded.problems if problem.level == "error"] == []
    assert loaded.site is not None
    assert (loaded.site.site.id, loaded.site.gateway) == (id_, id_)


def test_what_is_not_given_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    said = '192.0.2.1:502\nxima-xincun\n西马: "新" 村\n\nxmxc-01\n\ny\n'
    done = program("init", path, "--no-scan", input=said)

    assert done.returncode == 0, done.stderr
    good(path)
    assert "mqtts://mqtt.example.com:8883" in path.read_text()


def test_a_file_that_is_there_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text("mine")
    done = program("init", path, *OPTIONS, "--tcp", "192.0.2.1:502", "--page", "--no-scan")

    assert (done.returncode, done.stderr) == (2, f"{path}: is there already\n")
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("--site", "Xima"), "such as xima-xincun"),
        (("--gateway", "x y"), "such as xmxc-01"),
        (("--name", "x" * 201), "1-200 characters"),
        (("--timezone", "Beijing"), "Asia/Shanghai"),
        (("--broker", "http://mqtt.example.com"), "mqtts://HOST[:PORT]"),
        (("--tcp", "192.0.2.1"), "HOST:PORT"),
        (("--units", "0-300"), "1 to 255"),
        (("--serial", "/dev/a", "--tcp", "b:1"), "one of --serial DEV and --tcp HOST:PORT"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_a_wrong_option_is_said(tmp_path: Path, wrong: tuple[str, ...], said: str) -> None:
    done = program("init", tmp_path / "x.yaml", *OPTIONS, "--no-scan", "--page", *wrong)

    assert done.returncode == 64
    assert said in done.stderr
    assert not (tmp_path / "x.yaml").exists()


def test_a_silly_answer_is_asked_again_and_none_of_the_others_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    answers = [
        "ttyUSB0", "192.0.2.1:99999", "192.0.2.1:502", "西马", "",
        "xima-xincun", "x" * 201, '西马: "新" 村', "Mars", "Beijing",
        "Asia/Shanghai", "XMXC 01", "xmxc-01", "mqtt.example.com", "mqtt://user:secret@mqtt.example.com",
        "mqtts://mqtt.example.com:8883", "perhaps", "y",
    ]  # fmt: skip
    done = program("init", path, "--no-scan", input="\n".join(answers) + "\n")

    assert done.returncode == 0, done.stdout + done.stderr
    good(path)
    assert "found 'Mars'; a time zone" in done.stdout + done.stderr
    assert "found 'ttyUSB0'; HOST:PORT" in done.stdout + done.stderr


def test_where_nobody_answers_nothing_is_written(tmp_path: Path) -> None:
    done = program("init", tmp_path / "site.yaml", "--site", "xima-xincun", input="192.0.2.1:502\n")

    assert done.returncode == 130
    assert "nothing was written; every question is an option too" in done.stderr
    assert [*tmp_path.iterdir()] == []


async def test_ctrl_c_at_a_question_writes_nothing(tmp_path: Path) -> None:
    async with terminal("init", tmp_path / "site.yaml") as it:
        await it.shows("The line")
        it.process.send_signal(signal.SIGINT)
        assert await it.end() == 130
        assert "nothing was written" in it.screen.text
    assert [*tmp_path.iterdir()] == []


def test_without_a_folder_nothing_is_asked(tmp_path: Path) -> None:
    done = program("init", tmp_path / "no" / "site.yaml")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{tmp_path}/no/site.yaml: there is no folder {tmp_path}/no\n"


def test_a_link_to_nowhere_is_there_already(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.symlink_to(tmp_path / "elsewhere.yaml")
    done = program("init", path, *OPTIONS, "--tcp", "192.0.2.1:502", "--page", "--no-scan")

    assert (done.returncode, done.stderr) == (2, f"{path}: is there already\n")
    assert not (tmp_path / "elsewhere.yaml").exists()


async def test_who_is_on_the_line_is_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    async with foreign_tcp() as server:
        line = ("--tcp", f"127.0.0.1:{server.port}", "--units", "1-2", "--page")
        done = await asyncio.to_thread(program, "init", path, *OPTIONS, *line)
    assert done.returncode == 0, done.stderr
    good(path)
    assert "unit-1:" in path.read_text()
    assert "to be replaced" not in path.read_text()
    checked = await asyncio.to_thread(program, "check", path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
