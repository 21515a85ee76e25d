"""Looking at files: the text of a site file, and whether what it names is there."""

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from gateway.config.problems import Finding, Problem
from gateway.config.source import MAX_BYTES, SourceError
from gateway.config.units import Secret


def read_file(file: str) -> bytes:
    """The bytes of a regular file, one more than allowed at most. Raises SourceError."""
    try:
        # Not blocking, so that a named pipe is looked at and refused instead of waited for.
        number = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(number, "rb") as stream:
            if not stat.S_ISREG(os.fstat(number).st_mode):
                raise SourceError(Problem(file, 1, 1, "", "error", "found no regular file; a YAML file"))
            return stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise SourceError(Problem(file, 1, 1, "", "error", f"{why(error)}; a YAML file that can be read")) from error


def why(error: Exception) -> str:
    """What an attempt to open a file came to, in words."""
    if isinstance(error, FileNotFoundError):
        return "found no such file"
    if isinstance(error, IsADirectoryError):
        return "found a folder"
    if isinstance(error, PermissionError):
        return "found a file that may not be read"
    return f"cannot be read: {error.strerror if isinstance(error, OSError) else error}"


def _credential(name: str) -> Path | None:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    return Path(folder, name) if folder else None


def missing_files(parts: Mapping[str, Any]) -> Iterator[Finding]:
    """Files and secrets that the settings name and that are not there. `parts`: by top-level key."""
    for key, part in parts.items():
        yield from _look(part, (key,))


def _look(value: Any, path: tuple[str | int, ...]) -> Iterator[Finding]:
    if isinstance(value, Secret):
        yield from _look_secret(value, path)
    elif isinstance(value, Path):
        if path != ("store", "path"):
            yield from _look_file(value, path)
    elif isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            yield from _look(getattr(value, name), (*path, field.alias or name))
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _look(inner, (*path, key))
    elif isinstance(value, tuple):
        for number, inner in enumerate(value):
            yield from _look(inner, (*path, number))


def _look_file(file: Path, path: tuple[str | int, ...]) -> Iterator[Finding]:
    try:
        number = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        yield Finding(path, f"{why(error)}: {file.name}; a file that can be read")
        return
    is_file = stat.S_ISREG(os.fstat(number).st_mode)
    os.close(number)
    if not is_file:
        yield Finding(path, f"found no regular file: {file.name}; a file that can be read")


def _look_secret(secret: Secret, path: tuple[str | int, ...]) -> Iterator[Finding]:
    if secret.file is not None:
        yield from _look_file(secret.file, (*path, "file"))
    elif secret.env is not None and secret.env not in os.environ:
        yield Finding(
            (*path, "env"), f"{secret.env} is not in this environment; set it where the gateway runs", "warning"
        )
    elif secret.credential is not None:
        file = _credential(secret.credential)
        if file is None or not file.is_file():
            text = f"no credential '{secret.credential}' here; systemd passes it where the gateway runs"
            yield Finding((*path, "credential"), text, "warning")
