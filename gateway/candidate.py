"""Looks at a site file that came from afar, in a process of its own: `python -m gateway.candidate SITE CANDIDATE`.

stdin: the text of the file in force. stdout: `{errors: [...], differs: [...]}`: the lines of `check`, and what may
only be changed on site. Relative paths are those of SITE's folder, wherever CANDIDATE lies.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel

from gateway.config.assemble import assemble
from gateway.config.profiles import Shelf
from gateway.config.source import SourceError, read
from gateway.config.units import Secret
from gateway.technician.plan import load_timed

FIXED = ("uplink", "commands", "http", "store")
_LINES = 50
_LINE = 500
_NAMES = 20


def look(site: Path, candidate: Path, running: bytes) -> dict[str, list[str]]:
    """Errors of the candidate; if there are none, the places in which it differs where it must not."""
    errors = [
        str(problem).replace(str(candidate), site.name, 1)[:_LINE]
        for problem in load_timed(candidate, beside=site).problems
        if problem.level == "error"
    ]
    if len(errors) > _LINES:
        errors[_LINES:] = [f"{len(errors) - _LINES} more errors"]
    return {"errors": errors, "differs": [] if errors else _differs(site, candidate.read_bytes(), running)}


def _differs(site: Path, new: bytes, old: bytes) -> list[str]:
    try:
        before, after = _parts(site, old), _parts(site, new)
    except SourceError as error:
        return [f"the file in force cannot be read any more: {error}"[:_LINE]]
    found = [key for key in FIXED if before.get(key) != after.get(key)]
    references = dict(_references(before, ())), dict(_references(after, ()))
    named = references[0].keys() | references[1].keys()
    found += sorted(
        place
        for place in named
        if references[0].get(place) != references[1].get(place) and place.partition(".")[0] not in FIXED
    )
    return found[:_NAMES]


def _parts(site: Path, text: bytes) -> dict[str, Any]:
    tree = read(text, str(site)).tree
    return assemble(tree, Shelf(str(site)), str(site.parent.absolute())).parts


def _references(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, object]]:
    """Every secret and file that is named, by its place."""
    if isinstance(value, Secret | Path):
        yield ".".join(path), value
    elif isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            yield from _references(getattr(value, name), (*path, field.alias or name))
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _references(inner, (*path, str(key)))
    elif isinstance(value, tuple):
        for number, inner in enumerate(value):
            yield from _references(inner, (*path, str(number)))


if __name__ == "__main__":
    found = look(Path(sys.argv[1]), Path(sys.argv[2]), sys.stdin.buffer.read())
    sys.stdout.buffer.write(orjson.dumps(found))
