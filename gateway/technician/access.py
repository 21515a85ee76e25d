"""Plate lists from the command line: imports a CSV into the gateway or its store; shows what is kept of a plate.

With a running gateway everything goes through its control socket and appears in its audit. Without one, an import goes
into the store, which the next start reports to the audit, and a plate is judged by the stored lists alone.
"""

import os
import pwd
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast
from zoneinfo import ZoneInfo

import orjson

from gateway.config.site import SiteFile
from gateway.errors import GatewayError
from gateway.intake.list_folder import ListFolder
from gateway.intake.lists import Desk, mistake
from gateway.local.control import Daemon
from gateway.model import Json
from gateway.safe_write import as_owner
from gateway.settings.camera_uses import access_settings, list_settings
from gateway.site.access import PlateSeen, decide
from gateway.site.list_csv import ListReading, fingerprint, read
from gateway.site.lists import ListEntry, Lists, PlateList
from gateway.site.plates import classify

_LINE_BYTES = 40_000
"""The most bytes of entries in one request to the gateway."""


class Import(NamedTuple):
    """A CSV that was read: its list, or None, and what is wrong with it (also warnings)."""

    name: str
    reading: ListReading


def read_csv(file: SiteFile, csv: Path, name: str | None) -> Import:
    """Read a CSV against the gates of a site. Raises GatewayError if it cannot be read."""
    try:
        data = csv.read_bytes()
    except OSError as error:
        raise GatewayError(f"{csv}: {error.strerror}") from error
    name = name or csv.stem
    return Import(name, read(name, data, ZoneInfo(file.site.timezone), frozenset(file.gates)))


def problems(csv: Path, reading: ListReading) -> list[str]:
    """Every mistake, with its line, as `check` writes them."""
    return [f"{csv}:{one.line}: {'warning: ' if one.warning else ''}{mistake(one)}" for one in reading.problems]


def bring_in(file: SiteFile, name: str, new: PlateList) -> str:
    """Put a list into force in the running gateway, or store it for the next; returns a text. Raises GatewayError."""
    daemon = Daemon(file.store.path)
    try:
        parts = [*_parts(new)]
        for number, put in enumerate(parts, 1):
            question: dict[str, Json] = {
                "ask": "access.import",
                "by": who(),
                "list": name,
                "version": new.version,
                "put": cast("Json", put),
                "part": number,
                "parts": len(parts),
            }
            daemon.ask(question, timeout=60.0)
    except ConnectionError:
        return _store(file, name, new)
    return f"{name}: {len(new)} lines are in force"


def show(file: SiteFile, plate: str, gate: str | None) -> dict[str, Any]:
    """What is kept of a plate, and the decision it would get. Raises GatewayError.

    `running` is false if only the stored lists could be asked.
    """
    args: dict[str, Json] = {"plate": plate, **({} if gate is None else {"gate": gate})}
    try:
        return {**person(file, "access.show", args), "running": True}
    except ConnectionError:
        return {**_judge(file, plate, gate), "running": False}


def inside(file: SiteFile) -> dict[str, Any]:
    """The cars inside. Raises ConnectionError, GatewayError."""
    return person(file, "access.who", {})


def person(file: SiteFile, cmd: str, args: dict[str, Json]) -> dict[str, Any]:
    """Ask the running gateway as the person at the keyboard. Raises ConnectionError, GatewayError with its refusal."""
    question: dict[str, Json] = {"ask": "do", "cmd": cmd, "args": args, "by": who()}
    said = cast("dict[str, Any]", Daemon(file.store.path).ask(question, timeout=60.0))
    if not said["ok"]:
        raise GatewayError(f"{said['error']['code']}: {said['error']['message']}")
    return dict(said["result"] or {})


def who() -> str:
    """The person at the keyboard, also behind sudo."""
    try:
        return os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def _store(file: SiteFile, name: str, new: PlateList) -> str:
    """Store a list for the next start, which reports it to the audit."""
    place = list_settings(file)
    folder = ListFolder(place.folder)
    named = next((path for path in place.csv if path.stem == name), None)
    try:
        with as_owner(place.folder):
            csv = folder.csv_of(name)
        if csv is None and named is not None and named.is_file():
            csv = fingerprint(named.read_bytes())
        with as_owner(place.folder):
            folder.save(new, csv, who())
    except OSError as error:
        raise GatewayError(f"{place.folder}: {error.strerror}") from error
    return f"{name}: {len(new)} lines are stored; they are in force from the next start on"


def _judge(file: SiteFile, plate: str, gate: str | None) -> dict[str, Any]:
    """Judge a plate by the stored lists, with the time of this machine."""
    seen = classify(plate)
    if seen is None:
        raise GatewayError(f"bad-args: {plate!r} is no plate")
    desk = Desk(list_settings(file), looks_on=True)
    loaded = [desk.load(name).list for name in desk.names()]
    lists = Lists(one for one in loaded if one is not None)
    rules = access_settings(file)
    gates = [gate] if gate is not None else sorted({one for one in rules.cameras.values() if one})
    told = []
    for one in gates:
        for way in ("in", "out"):
            sight = PlateSeen(seen, 100.0, "in" if way == "in" else "out", one, time.time())
            found = decide(sight, lists, rules)
            told.append({"gate": one, "direction": way, "decision": found.decision, "reason": found.reason})
    lines = [{"list": name, "kind": line.kind, "note": line.note or None} for name, line in lists.find(seen.text)]
    return {"plate": seen.text, "lists": lines, "gates": told}


def _parts(new: PlateList) -> Iterator[list[dict[str, Json]]]:
    """The entries in parts, one request each; at least one part, which may be empty."""
    part: list[dict[str, Json]] = []
    size = 0
    for entry in new:
        said = _entry(entry)
        length = len(orjson.dumps(said)) + 1
        if size + length > _LINE_BYTES:
            yield part
            part, size = [], 0
        part.append(said)
        size += length
    yield part


def _entry(entry: ListEntry) -> dict[str, Json]:
    said: dict[str, Json] = {"plate": entry.plate, "kind": entry.kind}
    for key, wall, there in (("from", entry.since, entry.since > 0), ("until", entry.until, entry.ends)):
        if there:
            said[key] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(wall))
    if entry.gates:
        said["gates"] = cast("Json", sorted(entry.gates))
    return said | ({"note": entry.note} if entry.note else {})
