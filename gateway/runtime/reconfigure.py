"""A new site file from the cloud: checked, put in place, tried, kept or rolled back (page "Delivery").

Three files are beside SITE.yaml: `.previous` (the previous file), `.candidate` (a file being checked) and `.trial`
(what is on trial, and its phase). The trial is recorded before the site file changes and removed only when its outcome
is in the journal, so a kill at any time leaves a complete site file, and the next start knows what to do (see `trial`).

Call `begin` at every start of the daemon before the site file is read, and nowhere else.
"""

import asyncio
import json
import os
import sys
import uuid
import zlib
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import NoReturn, Protocol

import orjson

from gateway.arguments import MAX_SITE_FILE_BYTES
from gateway.clock import Clock
from gateway.errors import NotDone
from gateway.log import logger
from gateway.model import Emit, Instant, Json, Remember, Stream
from gateway.new_id import new_id
from gateway.runtime.trial import STARTS, Pending, Phase, Step, Trial, Verdict, step
from gateway.safe_write import replace_file, sync_folder

_log = logger(__name__)

TOLD = "process/config-told"
"""Memory key: the trial whose outcome is in the journal."""
Check = Callable[[Path, Path, bytes], Awaitable[None]]
"""Checks SITE's candidate, given the text in force. Raises NotDone."""

_CHECK_S = 30.0
_LOOK_EVERY_S = 0.5
_LOOK_RESTART_S = 0.25
_REPLIES_LEAVE_S = 1.0
"""Time for a reply to reach the broker before the process begins anew."""
_MAX_STATE_BYTES = 64 << 10
_RUN_MODULE = """
import json, sys
sys.path[:] = json.loads(sys.argv.pop(1))
from runpy import run_module
run_module(sys.argv.pop(1), run_name="__main__")
"""
"""Runs a module from where this process found it: the package's launcher adds the program's tree to `sys.path` itself,
so a new interpreter does not know it."""


class Disk:
    """The file operations, each atomic."""

    def read(self, path: Path) -> bytes | None:
        """The content; None if there is no such file. Raises OSError."""
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None

    def write(self, path: Path, content: bytes, mode: int = 0o600) -> None:
        """Make or replace a file durably. Raises OSError."""
        replace_file(path, content, mode)

    def remove(self, path: Path) -> None:
        """Remove a file durably, if it is there. Raises OSError."""
        path.unlink(missing_ok=True)
        sync_folder(path.parent)

    def mode(self, path: Path) -> int:
        """Its permissions. Raises OSError."""
        return path.stat().st_mode & 0o777


class Surroundings(Protocol):
    """The state that a change of the site file and its trial depend on."""

    def lines(self) -> Collection[str]:
        """The lines of the file in force."""
        ...

    def answering(self) -> Collection[str]:
        """The lines on which a device answers now."""
        ...

    def connected(self) -> bool:
        """True while connected to the broker."""
        ...

    def interlocked(self) -> str | None:
        """Why the configuration may not be changed now (a fire stands, a gate is held); None: it may."""
        ...

    async def commit(self, effects: list[Emit | Remember]) -> None:
        """Commit effects to the journal; returns once they are committed."""
        ...


class Reconfiguration:
    """The site file in force, and its trial. `site`: the path given to `run`."""

    def __init__(self, site: Path, disk: Disk | None = None, check: Check | None = None) -> None:
        self._given = site
        self._site = site
        self._disk = disk or Disk()
        self._check = check or check_apart
        self._running = b""
        self._applying = False
        self.pending: Pending | None = None
        """The trial that has not ended."""
        self.restart_due = False
        """The process has to be stopped in order and executed anew (`reexecute`) as soon as that is allowed."""

    # ---- at the start -----------------------------------------------------------------------------

    def begin(self) -> None:
        """Settle what an earlier start left, before the site file is read. Never raises."""
        with suppress(OSError):
            self._site = self._site.resolve(strict=True)
        try:
            self._settle()
        except OSError as error:
            _log.critical("a trial of the site file cannot be settled", why=str(error))
        with suppress(OSError):  # loading the file will report it
            self._running = zlib.compress(self._disk.read(self._site) or b"")

    def _settle(self) -> None:
        pending = self._load()
        if pending is None:
            return
        content = self._disk.read(self._site)
        match step(pending, None if content is None else _digest(content)):
            case Step.FORGET:
                _log.warning("a trial of another site file is forgotten: the file is not in place")
                self._disk.remove(self._beside("trial"))
            case Step.TRY:
                self._save(replace(pending, starts=pending.starts + 1))
                _log.warning("the site file is on trial", by=pending.by, start=pending.starts + 1)
            case Step.ROLL_BACK:
                why = pending.reason or f"{STARTS} starts with it came to nothing"
                self._put_back(replace(pending, phase=Phase.BACK, reason=why))
            case Step.TELL_BACK:
                self.pending = pending

    def stopped(self) -> None:
        """Note that the process was asked to stop during a trial, so this is not a failed start."""
        if self.pending is not None and self.pending.phase is Phase.TRIAL and self.pending.starts > 0:
            with suppress(OSError):  # it then counts as a failed start
                self._save(replace(self.pending, starts=self.pending.starts - 1))

    # ---- the outcome ------------------------------------------------------------------------------

    def recall(self, memory: Mapping[str, Json]) -> None:
        """Take the memory: a trial whose outcome is in the journal has ended."""
        if self.pending is not None and memory.get(TOLD) == self.pending.id:
            self.settled()

    async def until_due(self, clock: Clock, around: Surroundings) -> str:
        """Watch a trial to its end; returns when the process has to begin anew and may."""
        await self.watch(clock, around)
        while True:
            await asyncio.sleep(_LOOK_RESTART_S)
            if self.restart_due and around.interlocked() is None:
                await asyncio.sleep(_REPLIES_LEAVE_S)
                if around.interlocked() is None:
                    return "another site file"

    async def watch(
        self,
        clock: Clock,
        around: Surroundings,
        *,
        every: float = _LOOK_EVERY_S,
    ) -> None:
        """Watch a trial to its end; returns at once if there is none. Check `restart_due` afterwards.

        `every`: seconds between checks.
        """
        trial = self.begin_trial(clock.now(), around.lines())
        while trial is not None:
            match trial.judge(clock.now().mono, around.answering(), connected=around.connected()):
                case Verdict.KEEP:
                    break
                case Verdict.BACK:
                    try:
                        await asyncio.to_thread(self.roll_back, trial.reason())
                    except OSError as error:
                        _log.critical("the site file cannot be rolled back yet", why=str(error))
                    else:
                        return
            await asyncio.sleep(every)
        effects = self.outcome(clock.now())
        if effects:
            await around.commit(effects)
            await asyncio.to_thread(self.settled)

    def begin_trial(self, now: Instant, lines: Collection[str]) -> Trial | None:
        """Begin to watch the file on trial, if there is one. `lines`: of the file in force."""
        pending = self.pending
        return Trial(pending, now.mono, lines) if pending is not None and pending.phase is Phase.TRIAL else None

    def outcome(self, now: Instant) -> list[Emit | Remember]:
        """The effects that report an ended trial, for one commit: kept, or rolled back before this start.

        Call `settled` when they are committed.
        """
        pending = self.pending
        if pending is None:
            return []
        kept = pending.phase is Phase.TRIAL
        data: dict[str, Json] = {
            "digest": pending.new if kept else self.digest,
            "previous": pending.old if kept else pending.new,
            "by": pending.by,
            "reason": pending.reason,
        }
        name = "config.applied" if kept else "config.rolled-back"
        id_ = new_id(now)
        return [Emit(Stream.AUDIT, name, None, data, id_, now), Remember(TOLD, pending.id)]

    def settled(self) -> None:
        """The outcome is in the journal: end the trial."""
        try:
            self._disk.remove(self._beside("trial"))
        except OSError as error:
            _log.error("a trial that is over cannot be forgotten", why=str(error))
        self.pending = None

    def roll_back(self, reason: str) -> None:
        """The trial failed: restore the previous file and set `restart_due`. Raises OSError."""
        if self.pending is not None:
            self._put_back(replace(self.pending, phase=Phase.BACK, reason=reason))
            self.restart_due = self.pending is not None

    def _put_back(self, pending: Pending) -> None:
        before = self._disk.read(self._beside("previous"))
        if before is None or _digest(before) != pending.old:
            _log.critical("the site file before is gone: the one on trial stays")
            self._disk.remove(self._beside("trial"))
            self.pending = None
            return
        _log.error("the site file is rolled back", why=pending.reason, by=pending.by)
        self._save(pending)
        self._disk.write(self._site, before, self._disk.mode(self._site))

    # ---- commands ---------------------------------------------------------------------------------

    @property
    def digest(self) -> str:
        """SHA-256 of the file in force, hex."""
        return _digest(zlib.decompress(self._running)) if self._running else ""

    def get(self) -> Json:
        """`config.get`: the text in force. Raises NotDone."""
        content = zlib.decompress(self._running) if self._running else b""
        if len(content) > MAX_SITE_FILE_BYTES:
            text = f"the site file has {len(content)} bytes; {MAX_SITE_FILE_BYTES} at most can be sent"
            raise NotDone("bad-args", text)
        return {"file": content.decode(errors="replace"), "digest": _digest(content)}

    async def apply(self, text: str, trial: float, by: str, around: Surroundings) -> Json:
        """`config.apply`: check the text, put it in place, set `restart_due`. `trial`: seconds. Raises NotDone."""
        if self._applying or self.pending is not None or self.restart_due:
            raise NotDone("interlocked", "another site file is on trial")
        self._applying = True
        try:
            return await self._apply(text.encode(), trial, by, around)
        except OSError as error:
            raise NotDone("interlocked", f"the site file cannot be replaced: {error.strerror}") from error
        finally:
            self._applying = False

    async def _apply(self, content: bytes, trial: float, by: str, around: Surroundings) -> Json:
        lines = tuple(sorted(around.answering()))
        _refuse(around.interlocked())
        if len(content) > MAX_SITE_FILE_BYTES:
            raise NotDone("bad-args", f"file: {MAX_SITE_FILE_BYTES} bytes at most")
        running = zlib.decompress(self._running)
        new, old = _digest(content), _digest(running)
        if new == old:
            return {"digest": new, "changed": False}
        if await asyncio.to_thread(self._disk.read, self._site) != running:
            raise NotDone("interlocked", "the site file was edited here and is not in force yet")
        candidate = self._beside("candidate")
        try:
            await asyncio.to_thread(self._disk.write, candidate, content)
            await self._check(self._given, candidate, running)
        finally:
            await asyncio.to_thread(self._disk.remove, candidate)
        _refuse(around.interlocked())
        pending = Pending(uuid.uuid4().hex, Phase.TRIAL, new, old, trial, lines, by)
        await asyncio.to_thread(self._replace, running, content, pending)
        self.restart_due = True
        return {"digest": new, "previous": old, "changed": True, "trial": trial}

    def _replace(self, running: bytes, content: bytes, pending: Pending) -> None:
        """Replace the file; the order of steps makes a kill in between safe (see above)."""
        mode = self._disk.mode(self._site)
        self._disk.write(self._beside("previous"), running, mode)
        self._save(pending)
        self._disk.write(self._site, content, mode)

    # ---- the note ---------------------------------------------------------------------------------

    def _beside(self, what: str) -> Path:
        return self._site.with_name(f"{self._site.name}.{what}")

    def _save(self, pending: Pending) -> None:
        self._disk.write(self._beside("trial"), orjson.dumps(pending))
        self.pending = pending

    def _load(self) -> Pending | None:
        content = self._disk.read(self._beside("trial"))
        if content is None:
            return None
        try:
            note = orjson.loads(content[:_MAX_STATE_BYTES])
            return Pending(**{**note, "phase": Phase(note["phase"]), "lines": tuple(note["lines"])})
        except (ValueError, TypeError, KeyError) as error:
            _log.error("the note of a trial cannot be read", why=str(error))
            self._disk.remove(self._beside("trial"))
            return None


def _as_isolated() -> list[str]:
    """Interpreter flags for the same isolation as this process, and never its current folder on the path."""
    return ["-I" if sys.flags.isolated else "-P", *(["-S"] if sys.flags.no_site else [])]


def own_command(module: str, *words: str) -> list[str]:
    """A command line that runs a module of this program in another process."""
    return [sys.executable, *_as_isolated(), "-c", _RUN_MODULE, json.dumps(sys.path), module, *words]


async def check_apart(site: Path, candidate: Path, running: bytes) -> None:
    """Check a candidate in another process, because reading needs more memory than running. Raises NotDone."""
    process = await asyncio.create_subprocess_exec(
        *own_command("gateway.runtime.candidate", str(site), str(candidate)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(_CHECK_S):
            output, _ = await process.communicate(running)
    except TimeoutError as error:
        raise NotDone("bad-args", f"checking it took over {_CHECK_S:.0f} s") from error
    finally:
        if process.returncode is None:
            process.kill()
    try:
        found = orjson.loads(output)
    except orjson.JSONDecodeError as error:
        raise NotDone("bad-args", f"checking it failed with status {process.returncode}") from error
    if found["errors"]:
        raise NotDone("bad-args", "\n".join(found["errors"]))
    if found["differs"]:
        raise NotDone("not-allowed", f"from afar these stay as they are: {', '.join(found['differs'])}")


def reexecute() -> NoReturn:
    """Execute the same command line anew under the same process id. Everything must be closed."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - executes this program


def _refuse(why: str | None) -> None:
    if why is not None:
        raise NotDone("interlocked", why)


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()
