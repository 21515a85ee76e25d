"""What a technician does on a line: plan, scan, write, watch, doctor."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli import completion
from gateway.cli.group import (
    CANNOT,
    NOT_RUNNING,
    SITE,
    WRONG_FILE,
    OnStderr,
    commands,
    load_good,
    print_json,
    say,
    say_lines,
)

if TYPE_CHECKING:
    from gateway.technician.scan import Shown

INTERRUPTED = 130
_SITE = Path("/etc/site-gateway/site.yaml")


@commands.command()
@SITE
@click.option(
    "--latency",
    help="The longest time that a device takes to answer; else what the running daemon has measured, or 50ms.",
)
@click.option("--json", "as_json", is_flag=True, help="Print {lines, alarms}.")
def plan(site: Path, latency: str | None, *, as_json: bool) -> int:
    r"""Reckon the load of each line and how late each alarm can be, with no and with one dead device.

    \b
    Example: site-gateway plan site.yaml
    """
    from gateway.arguments import duration
    from gateway.errors import ConfigError
    from gateway.field.response_time import LATENCY_S
    from gateway.settings import plan as planning
    from gateway.technician.watch import measured_by_daemon

    try:
        answer_time = LATENCY_S if latency is None else duration(latency)
    except ValueError as error:
        raise click.BadParameter(f"{latency!r}: {error}", param_hint="--latency") from error
    loaded, file = load_good(site)
    measured = measured_by_daemon(file) if latency is None else {}
    try:
        plans = planning.plan_lines(file, answer_time, measured)
    except ConfigError as error:
        say_lines(f"{site}: {error}", err=True)
        return WRONG_FILE
    timed = loaded.with_findings(planning.findings(file))
    if as_json:
        print_json(planning.as_json(plans))
    else:
        from gateway.technician.tables import plan_sheets
        from gateway.technician.terminal import show

        show(plan_sheets(plans))
        say_lines(planning.assumptions(answer_time, len(measured)))
    for problem in timed.problems:
        if problem in loaded.problems:
            continue
        say(str(problem), err=True)
    return WRONG_FILE if timed.site is None else 0


@commands.command()
@SITE
@click.argument("what", metavar="DEVICE.POINT", shell_complete=completion.writable)
@click.argument("value")
def write(site: Path, what: str, value: str) -> int:
    r"""Write a point once and read it back: through the running daemon if it runs, else directly.

    VALUE is true, false, a number, or a word of the point's `values`. Points that a gate, a linkage or the
    annunciator uses are refused.

    \b
    Example: site-gateway write site.yaml relay-north.do3 true
    Example: site-gateway write site.yaml boiler.setpoint -- -5
    """
    from gateway.errors import GatewayError
    from gateway.technician.points import write_once
    from gateway.technician.write_guard import agrees

    _, file = load_good(site)
    try:
        written, reading = write_once(file, what, value)
    except GatewayError as error:
        say_lines(f"{what}: {error}", err=True)
        return CANNOT
    device, _, point = what.partition(".")
    shown = reading["reason"] if reading["value"] is None else reading["value"]
    unit = f" {reading['unit']}" if reading["unit"] else ""
    say(f"{what}: wrote {_word(written)}, reads back {_word(shown)}{unit} ({reading['quality']})")
    if not agrees(file.devices[device].points[point], written, reading):
        say(f"{what}: the device took the write, but reads otherwise", err=True)
        return CANNOT
    return 0


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@commands.command()
@click.option("--serial", metavar="DEV", help="A serial port, such as /dev/ttyUSB0.")
@click.option("--tcp", metavar="HOST:PORT", help="A Modbus TCP device or a serial server.")
@click.option("--listen", metavar="HOST:PORT", help="An own address at which a device dials in (a 4G DTU).")
@click.option("--register", metavar="TEXT", help="What that device says first, such as its IMEI, or hex.")
@click.option("--units", default="1-247", show_default=True, help="Unit ids, such as 1-20,31.")
@click.option("--baud", metavar="RATE,…", help="Only these baud rates.")
@click.option("--parity", type=click.Choice(["none", "even", "odd"]), help="Only this parity.")
@click.option(
    "--framing", type=click.Choice(["tcp", "rtu"]), help="Of a TCP line or one that is dialled; both are tried."
)
@click.option("--all", "everything", is_flag=True, help="Go on with other settings after one had answers.")
def scan(
    serial: str | None,
    tcp: str | None,
    units: str,
    baud: str | None,
    parity: str | None,
    framing: str | None,
    *,
    everything: bool,
    **dials_in: str | None,
) -> int:
    r"""Find who lives on a line and print a piece of a site file; reads only, never unit 0.

    \b
    Example: site-gateway scan --serial /dev/ttyUSB0
    Example: site-gateway scan --tcp 192.168.1.21:4196 --units 1-32 > found.yaml
    Example: site-gateway scan --listen 0.0.0.0:7000 --register 866123456789012 --units 1-16
    """
    from gateway.technician.scan_line import DialsIn
    from gateway.technician.search import Search, wanted

    try:
        target, settings, numbers = wanted(serial, tcp, units, baud, parity, framing, DialsIn(**dials_in))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    with _progress() as shown:
        search = Search(target, settings, numbers, everything=everything, shown=shown)
        failure, interrupted = search.run()
    for line in failure:
        say(line, err=True)
    if not search.found and failure:
        return CANNOT
    say_lines(search.fragment().rstrip("\n"))
    return INTERRUPTED if interrupted else CANNOT if failure else 0


@contextmanager
def _progress() -> Iterator["Shown"]:
    """A bar on a terminal; where there is none, what was found is enough."""
    if not sys.stderr.isatty():
        yield OnStderr()
        return
    from gateway.technician.terminal import progress

    with progress() as bar:
        yield bar


@commands.command()
@click.argument("site", type=click.Path(path_type=Path), metavar="[SITE.yaml]", default=_SITE)
@click.option("--socket", type=click.Path(path_type=Path), help="The daemon's control socket, instead of a site file.")
@click.option("--once", is_flag=True, help="Print one picture and end, as where there is no terminal.")
@click.option(
    "--frames", metavar="LINE", shell_complete=completion.lines, help="Show the frames of this line, decoded."
)
@click.option("--dump", is_flag=True, help="With --frames: print what the line remembers, and end.")
def watch(site: Path, socket: Path | None, frames: str | None, *, once: bool, dump: bool) -> int:
    r"""Watch the running daemon: values and their age, devices, bus load, alarms, or the frames of one line.

    \b
    Example: site-gateway watch site.yaml
    Example: site-gateway watch site.yaml --frames fire-loop
    """
    from gateway.errors import GatewayError
    from gateway.local.control import Daemon
    from gateway.technician import watch as watching

    if dump and frames is None:
        raise click.UsageError("--dump goes with --frames LINE")
    path = Daemon("", socket) if socket is not None else Daemon(load_good(site)[1].store.path)
    try:
        if frames is not None:
            for shown in watching.frames(path, frames, dump=dump):
                say_lines(shown)
        elif once or not sys.stdout.isatty():
            watching.picture(path)
        else:
            watching.live(path)
    except ConnectionError as error:
        say_lines(str(error), err=True)
        return NOT_RUNNING
    except GatewayError as error:
        say_lines(str(error), err=True)
        return CANNOT
    except KeyboardInterrupt:
        return 0
    return 0


@commands.command()
@SITE
@click.option("--json", "as_json", is_flag=True, help="Print a list of {about, level, what, todo}.")
def doctor(site: Path, *, as_json: bool) -> int:
    r"""Look for what is wrong: ports, wiring, clock, disk, broker, cameras. Asks the running daemon where it runs.

    \b
    Example: site-gateway doctor site.yaml
    """
    from gateway.technician.doctor import examine

    _, file = load_good(site)
    signs = examine(file)
    if as_json:
        print_json([{key: getattr(sign, key) for key in ("about", "level", "what", "todo")} for sign in signs])
    else:
        for sign in signs:
            say(f"{sign.level:5} {sign.about}: {sign.what}")
            if sign.todo:
                say(f"      -> {sign.todo}")
    return 1 if any(sign.level == "wrong" for sign in signs) else 0
