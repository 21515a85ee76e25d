"""The daemon and its file: run, check, read, status, alarms, schema."""

import os
import sys
from contextlib import suppress
from pathlib import Path

import click

from gateway.cli import completion
from gateway.cli.group import (
    BUG,
    CANNOT,
    SITE,
    WRONG_FILE,
    ask_daemon,
    asking,
    commands,
    load_good,
    load_timed,
    print_json,
    say,
    say_lines,
)


@commands.command()
@SITE
def run(site: Path) -> int:
    r"""Run the gateway until SIGTERM or SIGINT.

    \b
    Example: site-gateway run /etc/site-gateway/site.yaml
    """
    try:
        return _run(site)
    except Exception:  # noqa: BLE001 - status 1 says that the file is wrong, and is not started again
        import traceback

        say_lines(traceback.format_exc(), err=True)
        return BUG


def _run(site: Path) -> int:
    import gc

    from gateway.runtime.prepare import begin, on_trial

    if on_trial(site):
        from gateway.runtime.reconfigure import Reconfiguration

        file = Reconfiguration(site)
        file.begin()
        preparation = begin(site)
    else:
        # The usual start: what reading the file needs is loaded beside what running needs.
        preparation = begin(site)
        from gateway.runtime.reconfigure import Reconfiguration

        file = Reconfiguration(site)
        file.begin()
    gc.disable()  # nothing of what is loaded now is ever garbage
    from gateway import log
    from gateway.errors import GatewayError
    from gateway.runtime.app import run as run_site
    from gateway.runtime.reconfigure import reexecute

    log.configure()
    logger = log.logger("gateway")
    try:
        prepared = preparation.result()
    except OSError as error:
        logger.error("cannot start", error=str(error))  # noqa: TRY400 - expected: its text is the message
        return CANNOT
    gc.freeze()
    gc.enable()
    _give_back_large_pieces()
    for level, text in prepared.problems:
        (logger.error if level == "error" else logger.warning)(text)
    if prepared.settings is None:
        # Status 1 ends it for good. Not so a file on trial, which the next start puts back, or a disk that fails now.
        return CANNOT if file.pending is not None or not _readable(site) else WRONG_FILE
    from gateway.safe_write import owner_of

    if os.geteuid() == 0 and sys.stderr.isatty() and owner_of(prepared.settings.store.path) is not None:
        store = prepared.settings.store.path
        logger.error("root has no business in the store of a service", store=str(store), todo="systemctl start it")
        return CANNOT
    try:
        anew = run_site(prepared.settings, file=file)
    except (GatewayError, OSError) as error:
        logger.error("cannot start", error=str(error))  # noqa: TRY400 - expected: its text is the message
        return CANNOT
    if anew:
        reexecute()
    return 0


def _readable(site: Path) -> bool:
    try:
        site.read_bytes()
    except OSError as error:
        return isinstance(error, FileNotFoundError | IsADirectoryError | PermissionError)
    return True


@commands.command()
@SITE
@click.option("--json", "as_json", is_flag=True, help="Print a list of {file, line, col, key, level, text}.")
def check(site: Path, *, as_json: bool) -> int:
    r"""Print every error and warning of a site file, and of the lists, keys and certificates that it names.

    Touches no hardware and no network. Warnings that say the same of many entries are printed once, with a count.

    \b
    Example: site-gateway check site.yaml
    """
    loaded = load_timed(site, contents=True)
    if as_json:
        import dataclasses

        print_json([dataclasses.asdict(problem) for problem in loaded.problems])
    else:
        from gateway.config.problems import folded

        for problem in folded(loaded.problems):
            say(str(problem))
        errors = sum(problem.level == "error" for problem in loaded.problems)
        say(f"{errors} errors, {len(loaded.problems) - errors} warnings")
    return WRONG_FILE if loaded.site is None else 0


@commands.command()
@SITE
@click.argument("what", metavar="DEVICE[.POINT]", shell_complete=completion.points)
@click.option("--json", "as_json", is_flag=True, help="Print {point: {value, text, unit, quality, reason, at}}.")
def read(site: Path, what: str, *, as_json: bool) -> int:
    r"""Read a device once from the wire: through the running daemon if it runs, else directly.

    \b
    Example: site-gateway read site.yaml smoke-3-2f.smoke
    """
    from gateway.errors import GatewayError
    from gateway.technician.points import read_once

    _, file = load_good(site)
    try:
        readings = read_once(file, what)
    except GatewayError as error:
        say_lines(f"{what}: {error}", err=True)
        return CANNOT
    if as_json:
        print_json(readings)
        return 0
    for point, reading in readings.items():
        shown = reading["reason"] if reading["value"] is None else reading["value"]
        words = [str(word) for word in (shown, reading["unit"], reading["text"]) if word is not None]
        say(f"{point}: {' '.join(words)} ({reading['quality']})")
    return 0


@commands.command()
@SITE
@click.option("--json", "as_json", is_flag=True, help="Print the whole state as JSON.")
def status(site: Path, *, as_json: bool) -> int:
    r"""Show the state of the running daemon: clock, uplink, lines, devices, gates, cameras.

    \b
    Example: site-gateway status site.yaml
    """
    state = ask_daemon(site, "status")
    if as_json:
        print_json(state)
        return 0
    from gateway.technician.tables import status_lines

    for line in status_lines(state):
        say(line)
    return 0


@commands.command()
@SITE
@click.option("--json", "as_json", is_flag=True, help="Print the alarms as JSON.")
def alarms(site: Path, *, as_json: bool) -> int:
    r"""List the alarms that stand in the running daemon: the most severe first, then the newest, in local time.

    What stands in the third column names the alarm to every command.

    \b
    Example: site-gateway alarms site.yaml
    """
    standing = ask_daemon(site, "alarms")
    if as_json:
        print_json(standing)
        return 0
    from gateway.technician.tables import alarm_lines

    for line in alarm_lines(standing, load_good(site)[1].site.timezone):
        say(line)
    return 0


@commands.command()
@SITE
@click.option(
    "--stream",
    type=click.Choice(["alarm", "access", "audit", "inspection", "telemetry"]),
    default="alarm",
    show_default=True,
)
@click.option("--last", metavar="N", type=click.IntRange(1, 500), default=20, show_default=True, help="So many.")
@click.option("--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print each as a line of JSON.")
def events(site: Path, stream: str, last: int, *, follow: bool, as_json: bool) -> int:
    r"""Show the last events of a stream, delivered or not, a line each, in local time; plates are masked.

    \b
    Example: site-gateway events site.yaml --last 50
    Example: site-gateway events site.yaml --stream access --follow
    """
    from gateway.technician.events import event_lines

    _, file = load_good(site)
    with asking(), suppress(KeyboardInterrupt):
        for line in event_lines(file, stream, last, follow=follow, as_json=as_json):
            say(line)
    return 0


@commands.command()
@click.option("--profile", "kind", flag_value="profile", help="The schema of a device profile.")
@click.option("--events", "kind", flag_value="events", help="The schemas of the events: {type: schema}.")
def schema(kind: str | None) -> int:
    r"""Print the JSON Schema of the site file.

    \b
    Example: site-gateway schema > site.schema.json
    """
    if kind == "events":
        from gateway.contract.events import schemas

        print_json(schemas())
        return 0
    from gateway.config.load import schema as schema_of

    print_json(schema_of("profile" if kind else "site"))
    return 0


def _give_back_large_pieces() -> None:
    """Have the C library return what is large (bodies, pictures) to the system once it is free.

    By itself glibc raises this threshold to the largest piece that was ever freed, and later ones leave holes in its
    heap (mallopt(3)): 10 MiB with every queue full. It stays above the 256 KiB that asyncio reserves for each read: a
    piece of the system's memory cannot be cut to less than a page, and what a line remembers is many short answers.
    Another C library has no such thing.
    """
    import contextlib
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(-3, 320 << 10)  # M_MMAP_THRESHOLD
