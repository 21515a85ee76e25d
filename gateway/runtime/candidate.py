"""Checks a site file that came from the cloud, in a process of its own.

As a program: `SITE CANDIDATE` are its arguments (`check_apart`).

stdin: the text of the file in force. stdout: `{errors: [...], differs: [...]}`: the lines of `check`, and changes that
are only allowed on site. Relative paths refer to SITE's folder, wherever CANDIDATE is.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel

from gateway.config.assemble import assemble
from gateway.config.profiles import ProfileShelf
from gateway.config.source import SourceError, read
from gateway.config.units import Secret
from gateway.settings.plan import load_timed

FIXED = ("gateway", "simulated", "uplink", "commands", "http", "people", "store")
"""Identity and trust: only changed on site, together with `site.id`."""
_LINES = 50
_LINE = 500
_NAMES = 20
_ABSENT = object()
_OF_NO_SECRET = frozenset({"mode", "gate", "direction", "utc_offset", "channel", "confidence"})
"""Fields of an entry with a secret that may change. Every other field says where, as whom or how the secret is sent,
and sending a secret elsewhere counts as changing it."""


def look(site: Path, candidate: Path, running: bytes) -> dict[str, list[str]]:
    """Errors of the candidate; if there are none, the forbidden differences.

    If a candidate names another file or secret, or sends a secret elsewhere, only that is reported. Nothing is looked
    up on disk for it, so that errors do not reveal what is there.
    """
    before, after = _references(site, running), _references(site, candidate.read_bytes())
    moved = sorted(place for place, value in after.items() if before.get(place, _ABSENT) != value)
    if moved:
        return {"errors": [], "differs": moved[:_NAMES]}
    errors = [
        str(problem).replace(str(candidate), site.name, 1)[:_LINE]
        for problem in load_timed(candidate, beside=site).problems
        if problem.level == "error"
    ]
    if len(errors) > _LINES:
        errors[_LINES:] = [f"{len(errors) - _LINES} more errors"]
    if errors:
        return {"errors": errors, "differs": []}
    gone = sorted(before.keys() - after.keys())
    return {"errors": [], "differs": [*_fixed(site, candidate.read_bytes(), running), *gone][:_NAMES]}


def _fixed(site: Path, new: bytes, old: bytes) -> list[str]:
    try:
        before, after = _parts(site, old), _parts(site, new)
    except SourceError as error:
        return [f"the file in force cannot be read any more: {error}"[:_LINE]]
    moved = [key for key in FIXED if before.get(key) != after.get(key)]
    return moved if _site_id(before) == _site_id(after) else ["site.id", *moved]


def _site_id(parts: dict[str, Any]) -> object:
    return getattr(parts.get("site"), "id", None)


def _parts(site: Path, text: bytes) -> dict[str, Any]:
    tree = read(text, str(site)).tree
    return assemble(tree, ProfileShelf(str(site)), str(site.parent.absolute())).parts


def _references(site: Path, text: bytes) -> dict[str, object]:
    """Every named secret and file, by its place, and where each secret is sent; empty if the text is not YAML."""
    try:
        return dict(_named(_parts(site, text), ()))
    except SourceError:
        return {}


def _named(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, object]]:
    if isinstance(value, Secret | Path):
        yield ".".join(path), value
    elif isinstance(value, BaseModel):
        fields = [(name, field.alias or name) for name, field in type(value).model_fields.items()]
        has_secret = any(isinstance(getattr(value, name), Secret) for name, _ in fields)
        for name, key in fields:
            inner = getattr(value, name)
            if has_secret and name not in _OF_NO_SECRET and not isinstance(inner, Secret | Path):
                yield ".".join((*path, key)), inner
            else:
                yield from _named(inner, (*path, key))
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _named(inner, (*path, str(key)))
    elif isinstance(value, tuple):
        for number, inner in enumerate(value):
            yield from _named(inner, (*path, str(number)))


if __name__ == "__main__":
    found = look(Path(sys.argv[1]), Path(sys.argv[2]), sys.stdin.buffer.read())
    sys.stdout.buffer.write(orjson.dumps(found))
