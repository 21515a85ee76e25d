"""Reads the site file in a process of its own, while the gateway loads the rest of itself.

What reading takes (YAML, the models of the file, every check) is never needed again: the running gateway does
without those 20 MiB, and starts sooner on a machine with more than one core.
"""

import gc
import os
import pickle
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.settings.types import Settings


@dataclass(frozen=True, slots=True)
class Prepared:
    """What came of the file: `settings` is None if a problem is an error."""

    settings: Settings | None
    problems: tuple[tuple[str, str], ...]
    """Level (`error`, `warning`) and line of each problem."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """A process that reads a site file: its id, and where its answer comes."""

    pid: int
    answer: int

    def result(self) -> Prepared:
        """Wait for it, once. Raises OSError if that process failed."""
        with os.fdopen(self.answer, "rb") as stream:
            output = stream.read()
        _, status = os.waitpid(self.pid, 0)
        if status != 0:
            raise OSError(f"reading the site file failed with status {os.waitstatus_to_exitcode(status)}")
        prepared = pickle.loads(output)  # noqa: S301 - written by ourselves
        if not isinstance(prepared, Prepared):
            raise OSError("reading the site file gave something else")
        return prepared


_early: dict[str, Preparation] = {}


def begin_early(arguments: Sequence[str]) -> None:
    """Of a command line `run SITE.yaml`: begin to read while even the command line is being loaded."""
    if len(arguments) == 1 and not arguments[0].startswith("-") and not on_trial(Path(arguments[0])):
        _early[arguments[0]] = begin(Path(arguments[0]))


def on_trial(site: Path) -> bool:
    """Another site file came from afar and is not kept yet: that is settled before it is read (`reconfigure`)."""
    return Path(f"{os.path.realpath(site)}.trial").exists()


def begin(site: Path) -> Preparation:
    """Begin to read it, unless that was done. While there is one thread: the other process is a copy of this one."""
    if (early := _early.pop(str(site), None)) is not None:
        return early
    answer, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        for number in (signal.SIGTERM, signal.SIGINT):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        os.close(answer)
        _read_and_end(site, write)
    os.close(write)
    return Preparation(pid, answer)


def prepare(site: Path) -> Prepared:
    """Read, check and translate the file, here and now."""
    from gateway.settings import build  # the side that waits never loads this
    from gateway.settings.plan import load_timed

    loaded = load_timed(site)
    problems = tuple((problem.level, str(problem)) for problem in loaded.problems)
    return Prepared(None if loaded.site is None else build.settings(loaded.site), problems)


def _read_and_end(site: Path, write: int) -> None:
    """In the other process, which ends here, whatever happens."""
    status = 1
    try:
        gc.disable()  # it lives for a fraction of a second
        os.environ["PYDANTIC_DISABLE_PLUGINS"] = "true"  # looking for them takes longer than reading a small file
        answer = pickle.dumps(prepare(site), pickle.HIGHEST_PROTOCOL)
        with os.fdopen(write, "wb") as stream:
            stream.write(answer)
        status = 0
    except BrokenPipeError:
        pass  # who asked has ended meanwhile
    except BaseException:  # noqa: BLE001 - a copy of the caller must not go on as the caller
        import traceback  # hardly ever needed

        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)
