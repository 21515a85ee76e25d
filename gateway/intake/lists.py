"""The plate lists: loaded, changed and saved by a worker, put into force in one step of the site.

    lists = PlateLists(settings, inbox, clock)
    await lists.load()                  # in a task, once: lists of the site file and stored lists
    table |= lists.errands(journal)
    await lists.hand_in(passage)        # waits until the lists are in force

The work is done on a thread, one piece after the other; neither the loop nor a step ever handles a big list. A passage
that arrives before the lists are in force waits; its camera is still answered in time, its order expires by the time
of its arrival, and a fire does not wait.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import orjson

from gateway.clock import Clock
from gateway.cloud.journal.history import Erased
from gateway.driver import InputInbox, PassageInbox
from gateway.errors import ConfigError, NotDone, StoreError
from gateway.intake.list_folder import ListFolder
from gateway.log import logger
from gateway.masks import without_plates
from gateway.model import Errand, Json, ListReady, OwnHealth, Passage, Perform
from gateway.settings.types import ListSettings
from gateway.site.list_csv import EntryReader, RowProblem, fingerprint, read
from gateway.site.list_update import ListChange, Refusal, Updates, Waiting
from gateway.site.lists import PlateList, Version, changed

_log = logger(__name__)

LISTS = "gateway/lists"
"""The subject of the alarm that a list could not be read or saved."""
STORE, FILE = "store", "file"
"""`by` of a list at start: loaded from the store unchanged; made from a changed CSV of the site file."""
MOST = 32
"""The most lists of one site."""
LINES = 500_000
"""The most lines of all lists that commands may make, limited by the memory of the box."""
MAX_CSV_BYTES = 64 << 20
EXPORTED = 500
"""The newest events of a plate that are exported; the others are counted."""
_NAMED = 3
_ABOUT_WHO = frozenset({"ask", "by", "role", "account", "store"})
"""Keys of a control socket question that are not arguments."""
"""Mistakes of a file that the alarm names; the log has all of them."""


class PlateEvents(Protocol):
    """What is needed of the journal."""

    async def erase(self, plate: str) -> Erased:
        """Erase it from every event. Raises StoreError."""
        ...

    async def naming(self, plate: str) -> Sequence[bytes]:
        """The access events that name it. Raises StoreError."""
        ...


class ListInbox(InputInbox, PassageInbox, Protocol):
    """The part of the inbox used for lists and waiting passages."""


class LoadedList(NamedTuple):
    """The result of loading a list at start. `detail`: what is wrong, as text; `by`: see STORE and FILE."""

    list: PlateList | None
    by: str
    detail: str


class PlateLists:
    """The lists in force, and the worker that changes them. Passages go through here, to wait for the lists."""

    def __init__(self, settings: ListSettings, inbox: ListInbox, clock: Clock) -> None:
        self._settings = settings
        self._inbox = inbox
        self._clock = clock
        self._desk = Desk(settings)
        self._turn = asyncio.Lock()
        self._ready = asyncio.Event()

    @property
    def ready(self) -> bool:
        """True once every list is on its way into force."""
        return self._ready.is_set()

    async def load(self) -> None:
        """Load every list, once. Lists that cannot be loaded are reported; the others come into force."""
        wrong = []
        async with self._turn:
            strays = await asyncio.to_thread(self._desk.strays)
            wrong += [f"lists/{name} is no list of plates" for name in strays]
            for name in await asyncio.to_thread(self._desk.names):
                found, by, detail = await asyncio.to_thread(self._desk.load, name)
                if detail:
                    wrong.append(f"{name}: {detail}")
                    _log.error("a list of plates", list=name, why=detail, stands=found is not None)
                else:
                    _log.info("list of plates", list=name, lines=0 if found is None else len(found), by=by)
                await self._inbox.put(ListReady(name, found, by, "", detail, self._clock.now()))
        detail = without_plates("; ".join(wrong))
        await self._inbox.put(OwnHealth(LISTS, not wrong, detail, self._clock.now()))
        self._ready.set()

    async def hand_in(self, passage: Passage) -> None:
        """Pass a passage to the inbox once the lists are in force."""
        await self._ready.wait()
        await self._inbox.hand_in(passage)

    def errands(self, events: PlateEvents) -> Mapping[str, Errand]:
        """`access.update`, `access.forget`, `access.export`."""

        async def forget(act: Perform) -> Json:
            plate = str(act.args["plate"])
            done = await self._forget(plate, act)
            try:
                erased = await events.erase(plate)
            except StoreError as error:
                raise NotDone("interlocked", f"out of the lists, not yet out of the events: {error}") from error
            return {**done, "events": erased.events, "pictures": erased.pictures}

        async def export(act: Perform) -> Json:
            try:
                found = await events.naming(str(act.args["plate"]))
            except StoreError as error:
                raise NotDone("interlocked", f"the store cannot be read: {error}") from error
            kept = act.args["kept"]
            told: list[Json] = [_told(orjson.loads(event)) for event in found[-EXPORTED:]]
            return {**(kept if isinstance(kept, Mapping) else {}), "events": told, "more": len(found) - len(told)}

        return {"access.update": self._update, "access.forget": forget, "access.export": export}

    async def _forget(self, plate: str, act: Perform) -> dict[str, Json]:
        """Erase a plate from every list and version; `csv` in the result: files of people that still contain it."""
        async with self._turn:
            new, still = await self._work(self._desk.forget, plate)
            for one in new:
                await self._inbox.put(ListReady(one.name, one, act.by, act.order, "", self._clock.now()))
        return {"lists": [one.name for one in new], "csv": still}

    async def imported(self, request: Mapping[str, Any]) -> Json:
        """Take a part of a list from a person: `{by, list, version, put, part, parts}`, as in `access.update`."""
        args = {name: value for name, value in request.items() if name not in _ABOUT_WHO}
        try:
            return await self._taken({**args, "full": True}, _by(request), "")
        except NotDone as no:
            raise ConfigError(str(no)) from no

    async def _update(self, act: Perform) -> Json:
        return await self._taken(act.args, act.by, act.order)

    async def _taken(self, args: Mapping[str, Json], by: str, order: str) -> Json:
        """Put a list into force before the command is answered: both go through the inbox, in this order."""
        async with self._turn:
            found = await self._work(self._desk.update, args, None, self._clock.now().mono)
            if isinstance(found, int):
                return {"list": args["list"], "version": args["version"], "missing": found}
            await self._inbox.put(ListReady(found.name, found, by, order, "", self._clock.now()))
        return {"list": found.name, "version": found.version, "lines": len(found)}

    async def _work(self, what: Callable[..., Any], *args: object) -> Any:
        await self._ready.wait()
        try:
            return await asyncio.to_thread(what, *args)
        except OSError as error:
            raise NotDone("interlocked", f"the list cannot be saved: {error.strerror}") from error


class Desk:
    """The worker's part: one call at a time, on any thread. `looks_on`: nothing on disk is changed."""

    def __init__(self, settings: ListSettings, *, looks_on: bool = False) -> None:
        self._settings = settings
        self._looks_on = looks_on
        self._folder = ListFolder(settings.folder, looks_on=looks_on)
        self._csv = {path.stem: path for path in settings.csv}
        self._updates = Updates(EntryReader(settings.zone, settings.gates))
        self._lists: dict[str, PlateList] = {}
        self._from: dict[str, str | None] = {}
        """List -> fingerprint of its CSV."""

    def names(self) -> list[str]:
        """The lists of the site file, in its order, then those made by commands.

        A list made from a CSV that the site file no longer names is not included.
        """
        stored = [name for name in self._folder.names() if name not in self._csv and self._folder.csv_of(name) is None]
        return [*self._csv, *stored][:MOST]

    def strays(self) -> list[str]:
        """Set aside files that are not lists."""
        return self._folder.strays(self._csv)

    def load(self, name: str) -> LoadedList:
        """Load one list: the stored one, or from its CSV if that has changed since."""
        stored = self._folder.newest(name)
        wrong = [*stored.problems]
        path = self._csv.get(name)
        found, by = stored.found, STORE
        self._from[name] = None if stored.head is None else stored.head.csv
        if path is not None:
            fresh = self._read_csv(name, path, self._from[name], wrong)
            found, by = (found, STORE) if fresh is None else (fresh, FILE)
        if found is not None:
            self._lists[name] = found
            if stored.head is not None and stored.head.by is not None and by == STORE:
                by = stored.head.by
            if by != STORE and not self._looks_on:
                self._keep(name, found, wrong)
        return LoadedList(found, by, "; ".join(wrong))

    def update(self, args: Mapping[str, Json], by: str | None = None, at: float = 0.0) -> PlateList | int:
        """Take a part of a change. Returns the new, saved list, or how many parts are missing. Raises NotDone, OSError.

        `at`: monotonic seconds.
        """
        name = args.get("list")
        old = self._lists.get(name) if isinstance(name, str) else None
        taken = self._updates.take(args, None if old is None else old.version, at)
        match taken:
            case Refusal(message, held):
                raise NotDone("bad-args", message if held is None else f"{message}; held: {held}")
            case Waiting(missing):
                return missing
            case ListChange(name):
                if old is None and len(self._lists) >= MOST:
                    raise NotDone("bad-args", f"list: there are {MOST} lists already")
                try:
                    new = taken.apply(old)
                except OverflowError as error:
                    raise NotDone("bad-args", f"put: {error}") from error
                others = sum(len(one) for one in self._lists.values() if one.name != name)
                if others + len(new) > LINES and (old is None or len(new) > len(old)):
                    raise NotDone("bad-args", f"put: all lists together have at most {LINES} lines")
                self._folder.save(new, self._fingerprint(name), by)
                self._lists[name] = new
                return new

    def forget(self, plate: str) -> tuple[list[PlateList], list[str]]:
        """Erase a plate. Returns the changed lists, and the CSV files that still have it. Raises OSError."""
        new = [changed(one, one.version, (), (plate,)) for one in self._lists.values() if plate in one]
        for one in new:
            self._folder.save(one, self._from.get(one.name))
            self._lists[one.name] = one
        self._folder.forget_versions()
        return new, [path.name for path in self._csv.values() if self._stands(plate, path)]

    def held(self, name: str) -> Version | None:
        """The version of the list that is held."""
        one = self._lists.get(name)
        return None if one is None else one.version

    def _fingerprint(self, name: str) -> str | None:
        """The fingerprint of the CSV of a list. Changes by hand stay in force until the CSV changes."""
        known = self._from.get(name)
        if known is None and name in self._csv:
            try:
                known = self._from[name] = fingerprint(_bytes(self._csv[name]))
            except OSError:
                return None
        return known

    def _read_csv(self, name: str, path: Path, known: str | None, wrong: list[str]) -> PlateList | None:
        """The list of a changed CSV; None: unchanged or unusable."""
        try:
            data = _bytes(path)
        except OSError as error:
            wrong.append(f"{path.name} cannot be read: {error.strerror}")
            return None
        digest = fingerprint(data)
        if digest == known:
            return None
        fresh = read(name, data, self._settings.zone, self._settings.gates)
        for one in fresh.problems:
            (_log.warning if one.warning else _log.error)("a line of a list", file=path.name, what=_words(one))
        if fresh.list is None:
            errors = [_words(one) for one in fresh.problems if not one.warning]
            more = f" and {len(errors) - _NAMED} more" if len(errors) > _NAMED else ""
            wrong.append(f"{path.name}: {'; '.join(errors[:_NAMED])}{more}")
            return None
        self._from[name] = digest
        return fresh.list

    def _keep(self, name: str, found: PlateList, wrong: list[str]) -> None:
        """Save a list; it comes into force even if that fails."""
        try:
            self._folder.save(found, self._from[name])
        except OSError as error:
            wrong.append(f"it could not be saved: {error.strerror}")

    def _stands(self, plate: str, path: Path) -> bool:
        try:
            found = read(path.stem, _bytes(path), self._settings.zone).list
        except OSError:
            return False
        return found is not None and plate in found


def _told(event: Mapping[str, Json]) -> Json:
    return {"type": event["type"], "time": event["time"], "data": event["data"]}


def _by(request: Mapping[str, Any]) -> str:
    """The claimed name, plus the account if that differs."""
    by, account = str(request["by"])[:200], request.get("account")
    return by if account in (None, by) else f"{by} ({account})"


def mistake(problem: RowProblem) -> str:
    """What is wrong with a line, for people, without a plate."""
    return without_plates(f"{problem.key}: {problem.text}" if problem.key else problem.text)


def _words(problem: RowProblem) -> str:
    return f"line {problem.line}: {mistake(problem)}"


def _bytes(path: Path) -> bytes:
    """Raises OSError."""
    with path.open("rb") as stream:
        data = stream.read(MAX_CSV_BYTES + 1)
    if len(data) > MAX_CSV_BYTES:
        raise OSError(27, f"is larger than {MAX_CSV_BYTES >> 20} MiB")
    return data
