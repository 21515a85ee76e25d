"""The first site file of a box: asks, looks who is on the line, writes what `check` takes."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.group import CANNOT, OnStderr, commands, say, say_lines

if TYPE_CHECKING:
    from gateway.technician.first_file import BoxAnswers

_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def _id(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and _ID.fullmatch(value) is None:
        raise click.BadParameter(f"found {value!r}; small letters, digits and -, such as xima-xincun")
    return value


@commands.command()
@click.argument("out", type=click.Path(path_type=Path), metavar="SITE.yaml")
@click.option("--site", metavar="ID", callback=_id, help="The compound, such as xima-xincun.")
@click.option("--name", help="What people call it.")
@click.option("--timezone", help="Such as Asia/Shanghai.")
@click.option("--gateway", metavar="ID", callback=_id, help="This box, such as xmxc-01.")
@click.option("--broker", metavar="URL", help="mqtts://HOST:PORT")
@click.option("--serial", metavar="DEV", help="A serial port with a bus on it.")
@click.option("--tcp", metavar="HOST:PORT", help="A Modbus TCP device or a serial server.")
@click.option("--units", default="1-32", show_default=True, help="Unit ids to look for.")
@click.option("--no-scan", is_flag=True, help="Do not look who is on the line.")
@click.option("--page/--no-page", default=None, help="With the local page on this machine.")
def init(  # noqa: PLR0913 - every question is an option
    out: Path,
    *,
    site: str | None,
    name: str | None,
    timezone: str | None,
    gateway: str | None,
    broker: str | None,
    serial: str | None,
    tcp: str | None,
    units: str,
    no_scan: bool,
    page: bool | None,
) -> int:
    r"""Write the first site file of this box: what is not given as an option is asked.

    Looks on the line who is there, as `scan` does: reads only, never unit 0. A file that is there is not touched.

    \b
    Example: site-gateway init site.yaml
    Example: site-gateway init site.yaml --site xima-xincun --name 西马新村 --timezone Asia/Shanghai --gateway xmxc-01
                 --broker mqtts://mqtt.example.com:8883 --serial /dev/ttyUSB0 --page
    """
    from gateway.technician import first_file as work

    if out.exists():
        say(f"{out}: is there already", err=True)
        return CANNOT
    if serial is not None and tcp is not None:
        raise click.UsageError("one of --serial DEV and --tcp HOST:PORT; further lines are written by hand")
    if serial is None and tcp is None:
        serial, tcp = _ask_line(work.serial_ports())
    answers = work.BoxAnswers(
        site or click.prompt("Site, an id such as xima-xincun", value_proc=_asked_id),
        name if name is not None else click.prompt("What people call it", default="", show_default=False),
        timezone or click.prompt("Time zone", default="Asia/Shanghai"),
        gateway or click.prompt("This box, an id such as xmxc-01", value_proc=_asked_id),
        broker or click.prompt("Broker", default="mqtts://mqtt.example.com:8883"),
        serial,
        tcp,
        page if page is not None else click.confirm("With the local page on this machine", default=True),
    )
    return _write(out, answers, units, scan=not no_scan)


def _write(out: Path, answers: "BoxAnswers", units: str, *, scan: bool) -> int:
    from gateway.safe_write import as_owner, replace_file
    from gateway.technician import first_file as work

    try:
        found = work.look(answers, units, OnStderr()) if scan else ""
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    text = work.text(answers, found)
    problems = work.problems(text, out)
    try:
        with as_owner(out):
            replace_file(out, text.encode(), 0o640)
    except OSError as error:
        say(f"{out}: {error.strerror}", err=True)
        return CANNOT
    for problem in problems:
        say_lines(problem, err=True)
    say(f"{out}: written; site-gateway check {out}")
    return 0


def _ask_line(ports: list[str]) -> tuple[str | None, str | None]:
    """A serial port of the list, by its number or path, or HOST:PORT."""
    for number, port in enumerate(ports, 1):
        say(f"{number}  {port}")
    asked = click.prompt("The line: a number of the list, a serial port, or HOST:PORT")
    if asked.isdecimal() and 1 <= int(asked) <= len(ports):
        return ports[int(asked) - 1], None
    return (asked, None) if asked.startswith("/") else (None, asked)


def _asked_id(value: str) -> str:
    if _ID.fullmatch(value) is None:
        raise click.UsageError("small letters, digits and -, such as xima-xincun")
    return value
