"""walk: a zone in test mode, device by device, and the record of it."""

import getpass
import os
import select
import signal
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click

from gateway.cli import completion
from gateway.cli.group import CANNOT, SITE, asking, commands, load_good, say, say_lines

if TYPE_CHECKING:
    from gateway.config.site import SiteFile
    from gateway.technician.walk import Walk, Walked

_LOOK_EVERY_S = 0.5
_LEASE = "10m"
_LEASE_S = 600.0
_RENEW_S = 300.0
"""Seconds: a walk that dies leaves a zone in test for 10 min, no longer."""
_PATIENCE_S = 65.0
_AWAY_S = 60.0
"""Seconds for which the daemon may be away, as in a restart."""


@commands.command()
@SITE
@click.option(
    "--zone",
    required=True,
    metavar="ZONE",
    shell_complete=completion.zones,
    help="The zone to walk through; site: what has none.",
)
@click.option("--by", metavar="NAME", help="Who walks: it stands in the record and in the audit.  [default: you]")
@click.option("--out", type=click.Path(path_type=Path), help="Where the record goes: OUT.txt and OUT.json.")
def walk(site: Path, zone: str, by: str | None, out: Path | None) -> int:
    r"""Test every fire detector of a zone: tick off each as its fire arrives, and write the acceptance record.

    The zone is in test mode meanwhile: its alarms say so and open nothing. A call point is never part of a test: it
    ends the test and opens what a fire opens, so it comes last. Ctrl-C ends the walk.

    \b
    Example: site-gateway walk site.yaml --zone building-3 --by zhang
    """
    from gateway.technician.walk import initiating

    _, file = load_good(site)
    if zone != "site" and zone not in file.zones:
        say(f"there is no zone {zone}; {', '.join(file.zones) or 'none is defined'}", err=True)
        return CANNOT
    devices = initiating(file, zone)
    if not devices:
        say(f"no device of zone {zone} can call a fire", err=True)
        return CANNOT
    with asking():
        return _Round(file, zone, by or getpass.getuser(), out).run(devices)


class _Round:
    """One walk, from the beginning of the test to the record."""

    def __init__(self, file: "SiteFile", zone: str, by: str, out: Path | None) -> None:
        from gateway.local.control import Daemon

        self._file = file
        self._zone = zone
        self._by = by
        self._out = out
        self._daemon = Daemon(file.store.path)
        self._tells: dict[str, float] = {}
        self._hung_up = False
        """The terminal is gone: the walk goes on for as long as the test lasts, which is not renewed any more."""

    def run(self, devices: "list[Walked]") -> int:
        from gateway.technician.walk import Walk

        before = [str(one["alarm"]) for one in self._ask({"ask": "alarms"})]
        begun = _now()
        refusal = self._test(_LEASE)
        if refusal is not None:
            say(f"zone {self._zone} cannot be tested: {refusal}", err=True)
            return CANNOT
        walk = Walk(devices, before)
        signal.signal(signal.SIGHUP, self._hang_up)
        try:
            why = self._until_over(walk)
        finally:
            with suppress(ConnectionError):
                self._test("0s")
        try:
            self._write(walk, begun, why)
        except OSError as error:
            say(f"the record cannot be written: {error}; it stands above", err=True)
            return CANNOT
        return 0

    def _hang_up(self, _number: int, _frame: object) -> None:
        self._hung_up = True
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)

    def _until_over(self, walk: "Walk") -> str:
        """Look until all are done, it is interrupted, or the test has ended. Gives why."""
        warned = introduced = False
        renew = time.monotonic() + _RENEW_S
        while True:
            try:
                if not introduced:
                    introduced = True
                    self._introduce(walk)
                while not walk.is_done:
                    ended = self._look(walk)
                    if self._hung_up and time.monotonic() >= renew + _LEASE_S - _RENEW_S:
                        return "the terminal was lost, and the test ran out"
                    if ended is None and not walk.is_real and not self._hung_up and time.monotonic() >= renew:
                        renew = time.monotonic() + _RENEW_S
                        ended = self._test(_LEASE)
                    if ended is not None:
                        return f"the test was ended: {ended}"
                    if warned and not walk.burning:
                        return "interrupted"
                    _pause()
                return "all were tested"
            except KeyboardInterrupt:
                if warned or not walk.burning:
                    return "interrupted"
                names = ", ".join(one.device for one in walk.burning)
                say(f"still in fire: {names}. The end of the test makes that a real fire:", err=True)
                say("it ends by itself when they are clear; Ctrl-C again ends it now", err=True)
                warned = True

    def _introduce(self, walk: "Walk") -> None:
        say(f"zone {self._zone} is in test mode. Still to be tested:", err=True)
        for one in walk.devices.values():
            say(f"  [ ] {one.device} {one.place or ''} {_hint(one)}".rstrip(), err=True)

    def _look(self, walk: "Walk") -> str | None:
        """Tick off what is new. Why the test has ended, if it has."""
        ended = None
        for one in walk.see(self._ask({"ask": "alarms"})):
            done = sum(each.fire is not None for each in walk.devices.values())
            what = "fire" if one.clear is None else "clear"
            say(f"  [x] {one.device} {one.place or ''}: {what} ({done} of {len(walk.devices)})", err=True)
        if walk.is_real and not walk.is_tested:
            ended = "a call point ends it and counts"
        for one in walk.to_reset:
            if time.monotonic() < self._tells.get(one.device, 0.0):
                continue
            said = self._do("alarm.reset", {"alarm": one.alarm, "note": f"walk of zone {self._zone}"})
            if said["ok"]:
                walk.ended(one, _now())
            else:
                self._tells[one.device] = time.monotonic() + 10.0
        return ended

    def _test(self, span: str) -> str | None:
        """Begin, go on with or end the test; why not, if it may not be."""
        said = self._do("zone.test", {"zone": self._zone, "for": span, "note": "walk"})
        return None if said["ok"] else str(said["error"]["message"])

    def _do(self, cmd: str, args: dict[str, Any]) -> Any:
        return self._ask({"ask": "do", "cmd": cmd, "args": args, "by": self._by, "role": "technician"})

    def _ask(self, request: dict[str, Any]) -> Any:
        """Ask the daemon; while it starts anew, wait for it. Raises ConnectionError, GatewayError."""
        until = time.monotonic() + (_AWAY_S if self._tells.get("") else 0.0)
        while True:
            try:
                answer = self._daemon.ask(request, _PATIENCE_S)
            except ConnectionError:
                if time.monotonic() >= until:
                    raise
                _pause()
            else:
                self._tells[""] = 1.0
                return answer

    def _write(self, walk: "Walk", begun: str, why: str) -> None:
        from gateway.safe_write import as_owner, replace_file
        from gateway.technician.walk import as_text, record

        written = record(walk, self._file, self._zone, by=self._by, begun=begun, ended=_now(), why=why)
        name = f"walk-{self._zone}-{datetime.now(ZoneInfo(self._file.site.timezone)):%Y%m%d-%H%M%S}"
        base = self._out if self._out is not None else Path(name)
        import orjson

        text = as_text(written, self._file.site.timezone)
        say_lines(text)
        files = {"json": orjson.dumps(written, option=orjson.OPT_INDENT_2) + b"\n", "txt": text.encode()}
        for kind, data in files.items():
            place = base.with_name(f"{base.name}.{kind}")
            with as_owner(place):
                replace_file(place, data, 0o644)
        say(f"record: {base}.txt, {base}.json", err=True)


def _pause() -> None:
    """A moment, ended by Ctrl-C."""
    select.select([], [], [], _LOOK_EVERY_S)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _hint(one: "Walked") -> str:
    return "(a call point: it ends the test and opens the gates; last)" if one.by_hand else ""
