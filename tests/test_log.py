import io
import json
import logging
import os
import pty
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from gateway.log import Allowance, Style, configure, logger, style_of


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """`logging` and structlog as they were."""
    root = logging.getLogger()
    handlers, level, quiet = set(root.handlers), root.level, logging.getLogger("pymodbus.logging").level
    yield
    for handler in set(root.handlers) - handlers:
        if handler.__class__.__module__ == "gateway.log":
            root.removeHandler(handler)
    logging.getLogger("pymodbus.logging").setLevel(quiet)
    root.setLevel(level)
    structlog.reset_defaults()


def lines(style: Style, level: str = "info") -> io.StringIO:
    """What is logged from now on, line by line."""
    stream = io.StringIO()
    configure(level, stream, style)
    return stream


def failed(message: str = "no answer\nfrom 12") -> None:
    raise TimeoutError(message)


def test_journal_line_has_priority_and_no_time() -> None:
    out = lines(Style.JOURNAL)
    logger("gateway.field").warning("line is down", line="fire-loop", after_s=12.5, devices=["a", "b"])
    assert out.getvalue() == '<4>line is down line=fire-loop after_s=12.5 devices=["a", "b"] [gateway.field]\n'


@pytest.mark.parametrize(
    ("level", "priority"), [("debug", 7), ("info", 6), ("warning", 4), ("error", 3), ("critical", 2)]
)
def test_priorities_are_those_of_syslog(level: str, priority: int) -> None:
    out = lines(Style.JOURNAL, "debug")
    getattr(logger("x"), level)("said")
    assert out.getvalue() == f"<{priority}>said [x]\n"


def test_each_line_of_a_traceback_has_the_prefix() -> None:
    out = lines(Style.JOURNAL)
    try:
        failed()
    except TimeoutError:
        logger("x").exception("poll ended")
    told = out.getvalue().splitlines()
    assert told[0] == "<3>poll ended [x]"
    assert told[1] == "<3>Traceback (most recent call last):"
    assert told[-2:] == ["<3>TimeoutError: no answer", "<3>from 12"]
    assert all(line.startswith("<3>") for line in told)


def test_json_line_is_one_object_with_the_traceback_in_one_field() -> None:
    out = lines(Style.JSON)
    try:
        failed()
    except TimeoutError:
        logger("x").exception("poll ended", zone="3号楼", level_m=float("nan"), raw=b"\x01\xff", big=2**70)
    (line,) = out.getvalue().splitlines()
    told = json.loads(line)
    assert told["time"].endswith("Z")
    assert told["level"] == "error"
    assert told["event"] == "poll ended"
    assert told["zone"] == "3号楼"
    assert told["level_m"] == "nan"
    assert told["raw"] == "01ff"
    assert told["big"] == 2**70
    assert told["exception"].splitlines()[-2:] == ["TimeoutError: no answer", "from 12"]


def test_terminal_line_has_a_time_and_no_colour_where_there_is_no_terminal() -> None:
    out = lines(Style.TERMINAL)
    logger("x").info("line is up", line="gate-io")
    at, level, rest = out.getvalue().split(maxsplit=2)
    assert len(at) == len("12:00:00.000")
    assert (level, rest) == ("info", "line is up line=gate-io [x]\n")


def test_level_is_kept() -> None:
    out = lines(Style.JOURNAL, "warning")
    logger("x").info("not this")
    logger("x").error("this")
    assert out.getvalue() == "<3>this [x]\n"


@pytest.mark.parametrize("style", list(Style))
def test_no_secret_is_ever_written(style: Style) -> None:
    out = lines(style)
    log = logger("x")
    log.info("login", password="s3cr3t-1", camera={"Token": "s3cr3t-2", "deep": [{"client_secret": "s3cr3t-3"}]})
    log.info("connect mqtts://gw:s3cr3t-4@example.com:8883", url="http://a/cameras/lpr?token=s3cr3t-5&x=1")
    logging.getLogger("library").error("GET /cameras/lpr?token=%s failed", "s3cr3t-6")
    try:
        failed("http://admin:s3cr3t-7@192.168.1.64/snap.jpg")
    except TimeoutError:
        log.exception("no picture")
    assert "s3cr3t" not in out.getvalue()
    assert out.getvalue().count("***") >= 7
    assert "x=1" in out.getvalue()


@given(event=st.text(), key=st.text(min_size=1).filter(lambda key: key != "event"), value=st.text() | st.binary())
@pytest.mark.parametrize("style", list(Style))
def test_whatever_is_said_stays_one_printable_line(style: Style, event: str, key: str, value: object) -> None:
    out = lines(style)
    logger("x").info(event, v=value, nested={key: value})
    assert out.getvalue().endswith("\n")
    line = out.getvalue()[:-1]
    if style is Style.JSON:
        assert isinstance(json.loads(line), dict)
        assert "\n" not in line
    else:
        assert line.isprintable()


def test_values_are_bounded() -> None:
    out = lines(Style.JSON)
    nest: list[object] = []
    for _ in range(100):
        nest = [nest]
    logger("x").info("flood", text="x" * 1_000_000, raw=b"x" * 1_000_000, many=list(range(1_000_000)), nest=nest)
    assert len(out.getvalue()) < 10_000


def test_libraries_are_heard_from_warning_up_and_not_without_end() -> None:
    out = lines(Style.JOURNAL)
    library = logging.getLogger("library.part")
    library.info("chatter")
    for n in range(1000):
        library.warning("trouble %d", n)
    logging.getLogger("other").error("heard too")
    told = out.getvalue().splitlines()
    assert told[0] == "<4>trouble 0 [library.part]"
    assert told[-1] == "<3>heard too [other]"
    assert len(told) == 11


def test_what_flaps_is_told_a_few_times_and_then_counted() -> None:
    now, out = 0.0, io.StringIO()
    configure("info", out, Style.JOURNAL, lambda: now)
    log = logger("x")
    for n in range(3600):
        now = float(n)
        log.warning("camera down", camera="north", why=f"reset {n}")
        log.info("camera back", camera="north", after_s=n)
    log.warning("camera down", camera="south", why="dark")
    log.warning("line down", line="north", detail="dark")
    told = out.getvalue().splitlines()
    assert told[0] == '<4>camera down camera=north why="reset 0" [x]'
    assert len(told) <= 2 * (10 + 2 * 60) + 2
    assert any("not_shown=29" in line for line in told)
    assert told[-2:] == ["<4>camera down camera=south why=dark [x]", "<4>line down line=north detail=dark [x]"]
    now += 600.0
    log.info("camera back", camera="north", after_s=1)
    assert "not_shown=" in out.getvalue().splitlines()[-1], "none goes uncounted"


def test_the_names_of_what_flaps_take_no_memory_without_end() -> None:
    with Path(os.devnull).open("w") as nowhere:
        configure("info", nowhere, Style.JOURNAL)
        tracemalloc.start()
        for n in range(20_000):
            logger("x").warning("device silent", device=f"d{n}")
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert held < 1 << 20


def test_a_library_that_cannot_format_its_message_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as alone:
        alone.setattr(logging.getLogger(), "handlers", [])
        out = lines(Style.JOURNAL)
        logging.getLogger("library").warning("%d of %d", "many")  # noqa: PLE1206 - the point
    assert out.getvalue() == "<4>%d of %d [library]\n"


def test_pymodbus_does_not_report_each_miss() -> None:
    out = lines(Style.JOURNAL)
    logging.getLogger("pymodbus.logging").error("No response received after 3 retries")
    assert out.getvalue() == ""


def test_configured_twice_speaks_once() -> None:
    lines(Style.JOURNAL)
    out = lines(Style.JOURNAL)
    logging.getLogger("library").warning("once")
    assert out.getvalue() == "<4>once [library]\n"


def test_a_closed_stream_stops_nobody() -> None:
    out = lines(Style.JOURNAL)
    out.close()
    logger("x").error("nobody hears this")
    logging.getLogger("library").error("nor this")
    assert out.closed


def test_style_fits_the_reader() -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader), os.fdopen(writer, "w") as pipe:
        status = os.fstat(pipe.fileno())
        assert style_of(pipe, {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}) is Style.JOURNAL
        assert style_of(pipe, {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino + 1}"}) is Style.JSON
        assert style_of(pipe, {}) is Style.JSON
    assert style_of(io.StringIO(), {}) is Style.JSON


def test_a_terminal_gets_colour_unless_it_asked_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    near, far = pty.openpty()
    with os.fdopen(near, "rb", buffering=0) as screen, os.fdopen(far, "w") as terminal:
        assert style_of(terminal, {}) is Style.TERMINAL
        monkeypatch.delenv("NO_COLOR", raising=False)
        configure("info", terminal)
        logger("x").error("seen")
        assert b"\x1b[31merror" in screen.read(4096)
        monkeypatch.setenv("NO_COLOR", "1")
        configure("info", terminal)
        logger("x").error("seen")
        assert b"\x1b" not in screen.read(4096)


def test_logging_does_not_cost_the_memory_of_rich() -> None:
    ask = (
        "import sys, gateway.log; print('rich' in sys.modules, 'pygments' in sys.modules);"
        "import rich.console; print(rich.console.Console.__name__)"
    )
    told = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert told.stdout == "False False\nConsole\n"


def test_allowance_lets_a_burst_through_and_counts_the_rest() -> None:
    allowance = Allowance(burst=2, per_minute=60)
    assert [allowance.take(0.0) for _ in range(5)] == [0, 0, None, None, None]
    assert allowance.take(1.0) == 3
    assert allowance.take(1.0) is None
    assert allowance.take(1000.0) == 1


@given(st.lists(st.floats(0, 10), max_size=200))
def test_allowance_is_never_exceeded_and_loses_no_count(gaps: list[float]) -> None:
    allowance, now, passed, told, refused = Allowance(burst=3, per_minute=30), 0.0, 0, 0, 0
    for gap in gaps:
        now += gap
        taken = allowance.take(now)
        if taken is None:
            refused += 1
        else:
            passed += 1
            told += taken
        assert passed <= 3 + now / 2 + 1e-6
        assert told <= refused
    last = allowance.take(now + 1000)
    assert last is not None
    assert told + last == refused
