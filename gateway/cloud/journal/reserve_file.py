"""A file that only takes up room, so that there is some left for alarms when the disk is full."""

import os
import threading
from contextlib import suppress
from pathlib import Path

_MARGIN = 1.25


class Ballast:
    """`alarm_reserve` bytes beside the journal. Making it may take long; giving it up takes no time."""

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._size = size
        self._lock = threading.Lock()
        self._making: threading.Thread | None = None
        self._wanted = False

    @property
    def present(self) -> bool:
        """The whole reserve is there."""
        try:
            found = self._path.stat()
        except OSError:
            return False
        return found.st_size == self._size and found.st_blocks * 512 >= self._size

    def make(self) -> None:
        """Take up the room in a thread of its own, if it is not there and there is enough of it. Never blocks."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            if self._size == 0 or (self._making is not None and self._making.is_alive()):
                return
            self._wanted = True
            self._making = threading.Thread(target=self._fill, name="ballast", daemon=True)
            self._making.start()
        finally:
            self._lock.release()

    def give_up(self) -> bool:
        """Free the room; True if there was any to free."""
        with self._lock:
            self._wanted = False
            try:
                self._path.unlink()
            except OSError:
                return False
            return True

    def _fill(self) -> None:
        part = self._path.with_name(self._path.name + ".part")
        try:
            if self.present:
                return
            room = os.statvfs(self._path.parent)
            if room.f_bavail * room.f_frsize < self._size * _MARGIN:
                return
            handle = os.open(part, os.O_CREAT | os.O_RDWR, 0o600)
            try:
                os.posix_fallocate(handle, 0, self._size)
            finally:
                os.close(handle)
            with self._lock:
                if self._wanted:
                    part.rename(self._path)
        except OSError:
            return  # no room for a reserve: `present` says so
        finally:
            with suppress(OSError):
                part.unlink()
