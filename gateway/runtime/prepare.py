"""Reads the site file in a process of its own, while the gateway loads its other modules.

What reading needs (YAML, the models of the file, every check) is never needed again. This saves the running gateway
20 MiB, and it starts sooner on a machine with more than one core.
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
    """The result of reading: `settings` is None if a problem is an error."""

    settings: Settings | None
    problems: tuple[tuple[str, str], ...]
    """Level (`error`, `warning`) and line of each problem."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """A process that reads a site file: its id, and the pipe of its answer."""

    pid: int
    answer: int

    def result(self) -> Prepared:
        """Wait for the result; call once. Raises OSError if that process failed."""
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
    """For the command line `run SITE.yaml`: begin to read even before the command line module is loaded."""
    if len(arguments) == 1 and not arguments[0].startswith("-") and not on_trial(Path(arguments[0])):
        _early[arguments[0]] = begin(Path(arguments[0]))


def on_trial(site: Path) -> bool:
    """True if a site file is on trial: that must be settled before it is read (`reconfigure`)."""
    return Path(f"{os.path.realpath(site)}.trial").exists()


def begin(site: Path) -> Preparation:
    """Begin to read it, unless that was done. Call while there is only one thread, because this forks."""
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
    """Read, check and translate the file in this process."""
    from gateway.settings import build  # the waiting process never loads this
    from gateway.settings.plan import load_timed

    loaded = load_timed(site)
    problems = tuple((problem.level, str(problem)) for problem in loaded.problems)
    return Prepared(None if loaded.site is None else build.settings(loaded.site), problems)


def _read_and_end(site: Path, write: int) -> None:
    """Runs in the other process, which ends here whatever happens."""
    status = 1
    try:
        gc.disable()  # it runs for a fraction of a second
        os.environ["PYDANTIC_DISABLE_PLUGINS"] = "true"  # searching for them takes longer than reading a small file
        answer = pickle.dumps(prepare(site), pickle.HIGHEST_PROTOCOL)
        with os.fdopen(write, "wb") as stream:
            stream.write(answer)
        status = 0
    except BrokenPipeError:
        pass  # the asking process has ended meanwhile
    except BaseException:  # noqa: BLE001 - a copy of the caller must not go on as the caller
        import traceback  # rarely needed

        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)
