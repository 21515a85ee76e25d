"""The files of the journal: the only module that knows SQLite.

One database in its own folder with its redo log, and one read-write connection, used on one thread only. WAL mode with
`synchronous=FULL`: a commit that has returned survives a power cut, for one fsync each. Every setting is written
explicitly and read back. Errors leave this module as `StoreError` and its subclasses.
"""

import fcntl
import os
import sqlite3
import time
import zlib
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

from gateway.cloud.journal import redo_log
from gateway.cloud.journal.redo_log import RedoLog, disk_error
from gateway.cloud.journal.schema import OLDEST_IN_USE, PACKED, STEPS, VERSION
from gateway.errors import StoreBusy, StoreDamaged, StoreError, StoreFull, StoreGone, StoreNewer
from gateway.log import logger
from gateway.safe_write import replace_file, sync_folder

_log = logger(__name__)

PAGE_BYTES = 4096
CHECK_S = 2.0
_NAME = "journal.db"
_LOG = "-log"
_SALVAGE = ".salvage"
_TAILS = ("", "-wal", "-shm", _LOG)
_LOG_SHARE = 32
_LOG_BYTES = 64 << 10, 512 << 10
"""The redo log is a share of `max_size`, between these limits."""
_SALVAGES = 3
"""How often an interrupted salvage is begun again, as the copy itself may be the cause; less than ten."""
_COPIES = 2
_COPIES_SHARE = 0.25
"""Damaged copies that are kept: their number, and their share of `max_size`."""
_HEADROOM_PAGES = 1024
_UNPACKED_BYTES = 16 << 20
_PACKED_WITH = (
    b'"value":true,"value":false,"value":null,"unit":"V","quality":"BAD","reason":"'
    b'{"specversion":"1.0","id":"01","source":"/sites/","/gateways/","type":"sitegateway.telemetry.readings.v1",'
    b'"subject":"","time":"2026-12-01T12:00:00.000000Z","datacontenttype":"application/json","stream":"telemetry",'
    b'"sequence":"00000000000000000001","journal":"","data":{"device":"","full":true,"readings":{"":'
    b'{"value":0,"text":null,"unit":null,"quality":"GOOD","reason":null,"at":"2026-12-01T12:00:00.000000Z"},"'
)
"""The common text of most telemetry payloads. Never change it: existing files can only be read with it."""
_BORN = (("page_size", PAGE_BYTES), ("auto_vacuum", 2))
"""Set when the file is made; `auto_vacuum` 2 is INCREMENTAL."""
_SETTINGS: tuple[tuple[str, int | str], ...] = (
    ("journal_mode", "wal"),
    ("synchronous", 2),
    ("wal_autocheckpoint", 1000),
    ("journal_size_limit", 8 << 20),
    ("temp_store", 2),
    ("cache_size", -2000),
    ("foreign_keys", 1),
    ("busy_timeout", 5000),
    ("mmap_size", 0),
)
_FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_NO_TEXT = ("Could not decode to UTF-8", "user-defined function raised")
"""Texts of errors without a code about invalid text, which a single flipped bit can cause."""

Parameters = Sequence[Any]


class Database:
    """The file and the connection to it. Everything but the constructor runs on the writer's thread."""

    def __init__(self, folder: Path, max_size: int, name: str = _NAME, *, schema: int = VERSION) -> None:
        """`schema`: what a file is made with, and an older one is brought to."""
        self.folder = folder
        self._schema = schema
        self.path = folder / name
        least, most = _LOG_BYTES
        self.log = RedoLog(self.log_path, max(least, min(most, max_size // _LOG_SHARE)) // PAGE_BYTES * PAGE_BYTES)
        """The log of commits that are not in the database yet."""
        self._most = max(max_size // PAGE_BYTES, 64)
        self.max_pages = self._most
        """The most pages that the file may have now."""
        self.writable = False
        self.packs = False
        """The file may hold `packed` payloads."""
        self._connection: sqlite3.Connection | None = None
        self._lock: int | None = None
        self._files: dict[Path, tuple[int, int]] = {}
        """The files that SQLite has open: device and inode."""

    @property
    def is_open(self) -> bool:
        """True if there is a connection, perhaps a read-only one."""
        return self._connection is not None

    @property
    def log_path(self) -> Path:
        """The path of the database's redo log."""
        return Path(f"{self.path}{_LOG}")

    @property
    def _salvage_path(self) -> Path:
        """The path of the file that names the copy to be salvaged, while there is one."""
        return self.path.with_name(f"{self.path.name}{_SALVAGE}")

    # ---- opening and closing ----------------------------------------------------------------------

    def open(self, *, check: bool) -> None:
        """Open for reading and writing; make missing files. `check`: look for damage, for 2 s at most.

        Raises StoreNewer, StoreFull, StoreError; after StoreDamaged the next call must be `set_aside`.
        """
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock_folder()
            self._refuse_headless()
            _make_file(self.path)
            sync_folder(self.folder)
        except OSError as error:
            raise disk_error(self.path, error) from error
        try:
            self.connect("rwc")
            self.log.open()
            version = self._version()
            if version == 0:
                self.set(_BORN)
            self.set(_SETTINGS)
            if check and version:
                self.check("quick_check(1)", CHECK_S)
            self._migrate(version)
            self.packs = self.number("PRAGMA user_version") >= PACKED
            if version == 0:
                self.fold()  # so that the tables themselves are not lost with a -wal
            # Set after the migration, because a file that is at or over its limit must be migrated too.
            self.execute(f"PRAGMA max_page_count={self.max_pages}")
            with self.transaction():
                pass  # SQLite opens a write-protected file without an error; this detects it
            sync_folder(self.folder)  # for the names of the other files, also of files made by an earlier attempt
        except StoreDamaged:
            raise
        except StoreError:
            self.close()
            raise
        except OSError as error:
            self.close()
            raise disk_error(self.path, error) from error
        paths = (Path(f"{self.path}{tail}") for tail in _TAILS)
        self._files = {path: found for path in paths if (found := _identity(path)) is not None}
        self.writable = True

    def open_readonly(self) -> None:
        """Open an existing file for reading. Raises StoreNewer, StoreError."""
        for mode in ("ro", "ro&immutable=1"):
            try:
                self.connect(mode)
                if self._version():
                    return  # what an older version lacks is not read
            except StoreNewer:
                self.close()
                raise
            except StoreError:
                self.close()
        self.close()
        raise StoreError(f"{self.path}: cannot be read")

    def close(self) -> None:
        """Close the file; never raises."""
        self.writable = False
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()
        self.log.close()

    def release(self) -> None:
        """Unlock the folder for another process."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def check_files(self) -> None:
        """Raise StoreGone if a file that SQLite has open is no longer at its path."""
        for path, file in self._files.items():
            if _identity(path) != file:
                raise StoreGone(f"{path}: deleted or replaced while in use")

    @property
    def in_place(self) -> bool:
        """True if the file at the database's path is the open one."""
        return self.path in self._files and _identity(self.path) == self._files[self.path]

    def drop_tails(self, wall: float) -> None:
        """Close, and delete the -wal and the -shm of a database that was deleted; its log is set aside.

        `wall` names the copy. Raises StoreError.
        """
        files = self._files
        aside = Path(f"{self._damaged(wall)}{_LOG}")
        self.close()
        for path, file in files.items():
            if path != self.path and _identity(path) == file:
                try:
                    if path == self.log_path:
                        path.rename(aside)  # its records are nowhere else on disk yet
                    else:
                        path.unlink()
                except FileNotFoundError:
                    continue
                except OSError as error:
                    raise StoreError(f"{path}: {error.strerror}") from error

    def drop_copies(self) -> None:
        """Keep at most two damaged copies and 25 % of `max_size`: delete the oldest."""
        copies: dict[str, list[os.stat_result]] = {}
        paths: dict[str, list[Path]] = {}
        for path in self.folder.glob(f"{_NAME}.damaged-*"):
            stem = path.name
            for tail in _TAILS:
                stem = stem.removesuffix(tail)
            with suppress(OSError):
                copies.setdefault(stem, []).append(path.lstat())
                paths.setdefault(stem, []).append(path)
        order = sorted(copies, key=lambda stem: max(one.st_ctime_ns for one in copies[stem]), reverse=True)
        room = self._most * PAGE_BYTES * _COPIES_SHARE
        for place, stem in enumerate(order):
            room -= sum(one.st_size for one in copies[stem])
            if place >= _COPIES or room < 0:
                for path in paths[stem]:
                    with suppress(OSError):
                        path.unlink()

    def set_aside(self, wall: float, *, salvage: bool = True) -> Path:
        """Rename the file, its -wal and -shm; nothing is deleted. `wall` names the copy. Raises StoreFull, StoreError.

        `salvage`: first note that the copy has to be salvaged, so that a later process does it if this one is
        interrupted. The connection is closed only afterwards, because SQLite deletes the -wal of a file that it closes.
        """
        aside = self._damaged(wall)
        try:
            if salvage:
                replace_file(self._salvage_path, f"0 {aside.name}".encode())
            # Rename the database first: if a crash follows, the -wal without a database is recognised as headless.
            self._rename(_TAILS, aside)
        except OSError as error:
            raise disk_error(self.path, error) from error
        finally:
            self.close()
        return aside

    def unsalvaged(self) -> Path | None:
        """The damaged copy whose salvage was interrupted, completely set aside; None: none, or interrupted too often.

        Raises StoreFull, StoreError.
        """
        begun, _, name = redo_log.content(self._salvage_path)[0].decode("ascii", "replace").partition(" ")
        if not (name.startswith(f"{_NAME}.damaged-") and begun.isdecimal()):
            return None
        aside = self.folder / Path(name).name
        try:
            self._lock_folder()
            if not aside.is_file():  # interrupted before anything was renamed: the database is still in place
                self.salvaged()
                return None
            if not self.path.exists():
                self._rename(_TAILS[1:], aside)
            if int(begun) >= _SALVAGES:
                _log.error("a salvage was cut too often and is given up", copy=str(aside))
                self.salvaged()
                return None
        except OSError as error:
            raise disk_error(self._salvage_path, error) from error
        return aside

    @contextmanager
    def salvaging(self) -> Generator[None]:
        """Wraps a salvage, to count those in which the process ended; an error does not count. Raises StoreError."""
        begun = redo_log.content(self._salvage_path)[0][:1]
        try:
            self._count_salvage(int(begun) + 1)
        except (OSError, ValueError) as error:
            raise StoreError(f"{self._salvage_path}: {error}") from error
        try:
            yield
        except StoreError:
            with suppress(OSError):
                self._count_salvage(int(begun))
            raise
        self.salvaged()

    def salvaged(self) -> None:
        """Note that nothing is left to salvage. Never raises."""
        with suppress(OSError):
            self._salvage_path.unlink()
            sync_folder(self.folder)

    def _rename(self, tails: Sequence[str], aside: Path) -> None:
        """Rename these files durably. Raises OSError."""
        for tail in tails:
            with suppress(FileNotFoundError):
                Path(f"{self.path}{tail}").rename(f"{aside}{tail}")
        sync_folder(self.folder)

    def _count_salvage(self, begun: int) -> None:
        """Write how many times the salvage was begun; in place, which needs no space. Raises OSError."""
        handle = os.open(self._salvage_path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.write(handle, b"%d" % begun)
            os.fsync(handle)
        finally:
            os.close(handle)

    def _damaged(self, wall: float) -> Path:
        """An unused name for a damaged copy."""
        stamp = datetime.fromtimestamp(max(wall, 0.0), UTC).strftime("%Y%m%dT%H%M%SZ")
        aside = self.path.with_name(f"{_NAME}.damaged-{stamp}")
        count = 1
        while any(Path(f"{aside}{tail}").exists() for tail in _TAILS):
            count += 1
            aside = self.path.with_name(f"{_NAME}.damaged-{stamp}-{count}")
        return aside

    def keep_log(self, wall: float, content: bytes) -> None:
        """Keep a copy of a redo log that was not used completely, unless there is one already. Never raises."""
        if any(redo_log.content(path)[0] == content for path in self.folder.glob(f"{_NAME}.damaged-*{_LOG}")):
            return
        aside = Path(f"{self._damaged(wall)}{_LOG}")
        _log.error("not all of the redo log can be taken in: a copy is kept", path=str(aside))
        try:
            replace_file(aside, content)
        except OSError as error:
            _log.error("the redo log cannot be kept", error=error.strerror)

    def replace_log(self, wall: float, why: str) -> None:
        """Set aside an unreadable redo log and make another; if that fails, work without one. Never raises."""
        aside = Path(f"{self._damaged(wall)}{_LOG}")
        _log.error(
            "the redo log cannot be read: set aside, what it held after that is lost", error=why, path=str(aside)
        )
        self.log.close()
        try:
            self.log_path.rename(aside)
            sync_folder(self.folder)
        except OSError as error:
            _log.error("the redo log cannot be set aside", error=error.strerror)
        self.log.open()
        found = _identity(self.log_path)
        if found is not None:
            self._files[self.log_path] = found

    # ---- statements -------------------------------------------------------------------------------

    def execute(self, sql: str, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
        """Run one statement; returns all its rows."""
        try:
            return self._open_connection().execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise _translated(error) from error

    def many(self, sql: str, rows: Iterable[Parameters]) -> None:
        """Run a statement for each row of parameters."""
        try:
            self._open_connection().executemany(sql, rows)
        except sqlite3.Error as error:
            raise _translated(error) from error

    def each(self, sql: str, parameters: Parameters = ()) -> Generator[tuple[Any, ...]]:
        """Iterate over the rows of one statement."""
        try:
            yield from self._open_connection().execute(sql, parameters)
        except sqlite3.Error as error:
            raise _translated(error) from error

    def number(self, sql: str, parameters: Parameters = ()) -> int:
        """The single number that a statement returns; 0 for none."""
        rows = self.execute(sql, parameters)
        return int(rows[0][0] or 0) if rows else 0

    @contextmanager
    def transaction(self, *, new_round: bool = False) -> Generator[None]:
        """All or nothing: committed when the block ends, rolled back when it raises.

        `new_round`: the transaction contains everything in the redo log, so a new round begins with it.
        """
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
            round_ = redo_log.new_round()
            if new_round:
                self.execute("INSERT OR REPLACE INTO round (id, round) VALUES (0, ?)", (round_,))
                self.log.end()
            self.execute("COMMIT")
        except BaseException:  # whatever ends the block: an open transaction would include the next one
            connection = self._connection
            if connection is not None and connection.in_transaction:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
            raise
        if new_round:
            self.log.begin(round_)

    @property
    def limited(self) -> bool:
        """True while the file's limit is lowered."""
        return self.max_pages < self._most

    def limit(self, pages: int | None) -> None:
        """Limit the file to this many pages; None: back to the configured size."""
        self.max_pages = self._most if pages is None else min(pages, self._most)
        self.execute(f"PRAGMA max_page_count={self.max_pages}")

    @contextmanager
    def headroom(self) -> Generator[None]:
        """Raise the limit by what the redo log can hold, because that was accepted already."""
        self.execute(f"PRAGMA max_page_count={self.max_pages + _HEADROOM_PAGES}")
        try:
            yield
        finally:
            self.execute(f"PRAGMA max_page_count={self.max_pages}")

    def used(self) -> tuple[int, int]:
        """The number of pages of the file, and how many of them are free."""
        return self.number("PRAGMA page_count"), self.number("PRAGMA freelist_count")

    def checkpoint(self) -> None:
        """Move the -wal's pages into the file."""
        self.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def fold(self) -> None:
        """Move all of the -wal into the file and begin it anew.

        Needed after a failed commit: the kernel treats -wal pages whose sync failed as written, so a later sync would
        not write them, and a power cut would end the -wal there.
        """
        self.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    # ---- inside -----------------------------------------------------------------------------------

    def _open_connection(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreError(f"{self.path}: not open")
        return self._connection

    def connect(self, mode: str) -> None:
        """Connect in one of SQLite's modes, without settings and checks. Raises StoreError."""
        self.close()
        try:
            address = f"{self.path.absolute().as_uri()}?mode={mode}"
            self._connection = sqlite3.connect(address, uri=True, isolation_level=None)
            self._connection.create_function("unpacked", 1, unpacked, deterministic=True)
        except sqlite3.Error as error:
            raise _translated(error) from error

    def _version(self) -> int:
        version = self.number("PRAGMA user_version")
        if version > VERSION:
            raise StoreNewer(f"{self.path}: made by a newer version (schema {version}, this one knows {VERSION})")
        if version == 0 and self.number("SELECT count(*) FROM sqlite_master"):
            raise StoreDamaged(f"{self.path}: not a journal")
        return version

    def set(self, settings: Iterable[tuple[str, int | str]]) -> None:
        """Set pragmas and read each back. Raises StoreError if one did not take."""
        for name, value in settings:
            self.execute(f"PRAGMA {name}={value}")
            read = self.execute(f"PRAGMA {name}")
            # mmap_size returns no row if memory mapping is compiled out.
            if read and read[0][0] != value:
                raise StoreError(f"{self.path}: {name} is {read[0][0]}, not {value}")

    def check(self, how: str, seconds: float) -> None:
        """Check the file with `quick_check(1)` or `integrity_check(1)`; running out of time is not a fault.

        Raises StoreDamaged.
        """
        connection = self._open_connection()
        deadline = time.monotonic() + seconds
        connection.set_progress_handler(lambda: time.monotonic() > deadline, 20_000)
        try:
            found = connection.execute(f"PRAGMA {how}").fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                raise _translated(error) from error
        except sqlite3.Error as error:
            raise _translated(error) from error
        else:
            if found != [("ok",)]:
                raise StoreDamaged(f"{self.path}: {found[0][0]}")
        finally:
            connection.set_progress_handler(None, 0)

    def _migrate(self, version: int) -> None:
        reached = max(version, self._schema)
        if reached < OLDEST_IN_USE:
            text = f"schema {reached}, and {OLDEST_IN_USE} is the oldest that this version can be tried on"
            raise StoreNewer(f"{self.path}: {text}")
        if reached == version:
            return
        with self.transaction():
            for statement in chain.from_iterable(STEPS[version:reached]):
                self.execute(statement)
            self.execute(f"PRAGMA user_version={reached}")

    def _lock_folder(self) -> None:
        """Lock the folder, because two writing processes can corrupt a WAL file. Raises StoreBusy, OSError."""
        if self._lock is not None:
            about = os.fstat(self._lock)
            if _identity(self.folder) == (about.st_dev, about.st_ino):
                return
            self.release()  # the folder itself has been replaced
        lock = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise StoreBusy(f"{self.folder}: in use by another process") from error
        except OSError:
            os.close(lock)
            raise
        self._lock = lock

    def _refuse_headless(self) -> None:
        """Set aside a -wal or redo log beside an empty or missing database; SQLite would delete the -wal."""
        wal = Path(f"{self.path}-wal")
        if self.path.exists() and self.path.stat().st_size:
            return
        if (wal.exists() and wal.stat().st_size) or redo_log.read(self.log_path, None):
            raise StoreDamaged(f"{self.path}: empty beside its -wal or -log")


def packed(payload: bytes) -> bytes:
    """Compress a JSON payload, for events where space matters more than searching them with SQL."""
    deflating = zlib.compressobj(1, zdict=_PACKED_WITH)
    return deflating.compress(payload) + deflating.flush()


def unpacked(payload: Any) -> Any:
    """Undo `packed`; anything else is returned as it is, so that the reader notices garbled bytes."""
    if isinstance(payload, bytes) and not payload.startswith(b"{"):
        inflating = zlib.decompressobj(zdict=_PACKED_WITH)
        with suppress(zlib.error):
            whole = inflating.decompress(payload, _UNPACKED_BYTES)
            return whole if inflating.eof else payload
    return payload


def _make_file(path: Path) -> None:
    """Make an empty file that only its owner may read, if it is missing."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and inode of the file at `path`; None: it cannot be seen."""
    try:
        about = path.lstat()
    except OSError:
        return None
    return about.st_dev, about.st_ino


def _translated(error: sqlite3.Error) -> StoreError:
    code = getattr(error, "sqlite_errorcode", 0) or 0
    if code in _FULL:
        return StoreFull(str(error))
    if code & 0xFF in _DAMAGED or str(error).startswith(_NO_TEXT):
        return StoreDamaged(str(error))
    return StoreError(str(error))
