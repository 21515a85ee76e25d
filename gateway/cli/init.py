"""The first site file of a box: asks, looks who is on the line, writes what `check` takes."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.group import CANNOT, OnStderr, commands, say, say_lines

if TYPE_CHECKING:
    from gateway.technician.first_file import BoxAnswers


class _Answer(click.ParamType[str]):
    """An answer that the site file takes, of an option as of a question; another one is asked again."""

    name = "text"

    def __init__(self, key: str) -> None:
        self._key = key

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The same. Raises BadParameter."""
        from gateway.technician.first_file import mistake

        if value or self._key != "name":  # what nobody calls it may be left empty
            wrong = mistake(self._key, value)
            if wrong is not None:
                self.fail(f"found {value!r}; {wrong}", param, ctx)
        return value


class _LineAnswer(click.ParamType[tuple[str | None, str | None]]):
    """A serial port of the list, by its number or path, or HOST:PORT: the one or the other."""

    name = "line"

    def __init__(self, ports: list[str]) -> None:
        self._ports = ports

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str | None, str | None]:
        """Raises BadParameter."""
        if value.isdecimal() and self._ports:
            if not 1 <= int(value) <= len(self._ports):
                self.fail(f"found {value}; a number of the list, 1-{len(self._ports)}", param, ctx)
            return self._ports[int(value) - 1], None
        return (value, None) if value.startswith("/") else (None, _Answer("tcp").convert(value, param, ctx))


def _units(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    from gateway.technician.scan import units_of

    try:
        list(units_of(value))
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    return value


@commands.command()
@click.argument("out", type=click.Path(path_type=Path), metavar="SITE.yaml")
@click.option("--site", metavar="ID", type=_Answer("site"), help="The compound, such as xima-xincun.")
@click.option("--name", type=_Answer("name"), help="What people call it.")
@click.option("--timezone", type=_Answer("timezone"), help="Such as Asia/Shanghai.")
@click.option("--gateway", metavar="ID", type=_Answer("gateway"), help="This box, such as xmxc-01.")
@click.option("--broker", metavar="URL", type=_Answer("broker"), help="mqtts://HOST:PORT")
@click.option("--serial", metavar="DEV", help="A serial port with a bus on it.")
@click.option("--tcp", metavar="HOST:PORT", type=_Answer("tcp"), help="A Modbus TCP device or a serial server.")
@click.option("--units", default="1-32", show_default=True, callback=_units, help="Unit ids to look for.")
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

    if os.path.lexists(out):
        say(f"{out}: is there already", err=True)
        return CANNOT
    folder = out.absolute().parent
    if not os.access(folder, os.W_OK | os.X_OK):
        say(f"{out}: {'may not be written' if folder.is_dir() else f'there is no folder {folder}'}", err=True)
        return CANNOT
    if serial is not None and tcp is not None:
        raise click.UsageError("one of --serial DEV and --tcp HOST:PORT; further lines are written by hand")
    try:
        if serial is None and tcp is None:
            serial, tcp = _ask_line(work.serial_ports())
        answers = work.BoxAnswers(
            site or click.prompt("Site, an id such as xima-xincun", type=_Answer("site")),
            name if name is not None else _ask_name(),
            timezone or click.prompt("Time zone", default="Asia/Shanghai", type=_Answer("timezone")),
            gateway or click.prompt("This box, an id such as xmxc-01", type=_Answer("gateway")),
            broker or click.prompt("Broker", default="mqtts://mqtt.example.com:8883", type=_Answer("broker")),
            serial,
            tcp,
            page if page is not None else click.confirm("With the local page on this machine", default=True),
        )
        return _write(out, answers, units, scan=not no_scan)
    except (click.Abort, KeyboardInterrupt):
        say_lines("\nnothing was written; every question is an option too: site-gateway init --help", err=True)
        raise


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


def _ask_name() -> str:
    answer: str = click.prompt(
        "What people call it (Enter: as the id)", default="", show_default=False, type=_Answer("name")
    )
    return answer


def _ask_line(ports: list[str]) -> tuple[str | None, str | None]:
    for number, port in enumerate(ports, 1):
        say(f"{number}  {port}")
    if not ports:
        say("no serial port is plugged in")
    how = "a number of the list, a serial port" if ports else "a serial port such as /dev/ttyUSB0"
    answer: tuple[str | None, str | None] = click.prompt(f"The line: {how}, or HOST:PORT", type=_LineAnswer(ports))
    return answer
