"""A site file from the disk to frozen settings, with every problem in it.

loaded = load(Path("site.yaml"))
for problem in loaded.problems: print(problem)
if loaded.site is None: ...            # there is at least one error
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from gateway.config.assemble import Assembly, assemble
from gateway.config.checked_parts import Facts
from gateway.config.checks import check
from gateway.config.file_checks import missing_files, read_file
from gateway.config.problems import MOST, Finding, Level, Problem
from gateway.config.profiles import ProfileSheet, ProfileShelf, place, shipped
from gateway.config.site import SiteFile
from gateway.config.source import Source, SourceError, read

__all__ = ["Loaded", "Problem", "load", "schema", "shipped"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What came of a file: `site` is None if and only if a problem is an error. `text`: the file as it was read."""

    site: SiteFile | None
    problems: tuple[Problem, ...]
    path: Path
    text: str = ""
    beside: Path | None = None
    """In whose folder relative paths and profiles are, where that is not its own."""

    def with_findings(self, findings: Iterable[Finding]) -> "Loaded":
        """The same with what was found afterwards, each in its place of the file; `site` is gone after an error."""
        more = list(findings)
        if self.site is None or not more:
            return self
        # The places are found by reading the text again: a daemon would keep them for years for nothing.
        file = os.fspath(self.path)
        source, shelf = read(self.text.encode(), file), ProfileShelf(os.fspath(self.beside or file))
        used = {name: shelf.find(device.profile) for name, device in self.site.devices.items() if device.profile}
        problems = _sorted([*self.problems, *(_placed(finding, source, used) for finding in more)], file)
        failed = any(problem.level == "error" for problem in problems)
        return replace(self, site=None if failed else self.site, problems=problems)


def load(path: str | os.PathLike[str], beside: Path | None = None, *, contents: bool = False) -> Loaded:
    """Read and check a site file; relative paths are as in the folder of `beside`, which is itself if absent.

    Never raises for what the file is or holds; touches no hardware, no network. `contents`: look also into the lists,
    keys and certificates that it names.
    """
    file = os.fspath(path)
    try:
        data = read_file(file)
        source = read(data, file)
    except SourceError as error:
        return Loaded(None, (error.problem,), Path(file))
    shelf = ProfileShelf(os.fspath(beside or file))
    base = str(Path(beside or file).parent.absolute())
    done = assemble(source.tree, shelf, base)
    facts = _facts(done, source.tree)
    findings = [
        *done.findings,
        *_enough(check(facts, tuple(source.tree))),
        *missing_files(_places_of_files(done.parts)),
    ]
    problems_of_files: list[Problem] = []
    if contents:
        from gateway.config.contents import look_into  # noqa: PLC0415 (loads the library for certificates)

        more, problems_of_files = look_into(done.parts)
        findings += more
    placed = [_placed(finding, source, done.sheets) for finding in findings]
    problems = _sorted([*placed, *shelf.problems, *problems_of_files], file)
    if any(problem.level == "error" for problem in problems):
        return Loaded(None, problems, Path(file))
    return Loaded(_site(done.parts), problems, Path(file), data.decode(), beside)


def schema(kind: Literal["site", "profile"]) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of what may be written in a site file or a profile."""
    from gateway.config.schema import build  # noqa: PLC0415 (pydantic's schema generator, only for this command)

    return build(kind)


def _site(parts: Mapping[str, Any]) -> SiteFile:
    uplink = parts["uplink"]
    if not uplink.client_id:
        uplink = uplink.model_copy(update={"client_id": parts["gateway"]})
    return SiteFile.model_construct(**{**parts, "uplink": uplink})


def _enough(findings: Iterable[Finding]) -> Iterator[Finding]:
    """The findings up to the last error that anybody would read; a warning never displaces an error."""
    errors = 0
    for finding in findings:
        yield finding
        errors += finding.level == "error"
        if errors >= MOST:
            return


def _facts(done: Assembly, tree: Mapping[str, Any]) -> Facts:
    parts = done.parts
    profiles = {name: sheet.profile for name, sheet in done.sheets.items()}
    return Facts(
        written={key: tuple(value) for key, value in tree.items() if isinstance(value, dict)},
        uplink=parts.get("uplink"),
        lines=parts.get("lines", {}),
        devices=parts.get("devices", {}),
        shipped={name: one.line for name, one in profiles.items() if one is not None and one.line is not None},
        gates=parts.get("gates", {}),
        cameras=parts.get("cameras", {}),
        linkage=parts.get("linkage", {}),
        inspection=parts.get("inspection", {}),
        places=parts.get("places", {}),
        http=parts.get("http"),
        access=parts.get("access"),
        annunciator=parts.get("annunciator"),
        own=parts.get("self_"),
    )


def _places_of_files(parts: Mapping[str, Any]) -> dict[str, Any]:
    """The parts that can name files, by their key in the file."""
    naming = ("uplink", "commands", "cameras", "http", "access", "places")
    named = {key: part for key, part in parts.items() if key in naming}
    devices = parts.get("devices", {})
    panels = {name: {"points": one.components} for name, one in devices.items() if one.components is not None}
    return {**named, "devices": panels}


def _placed(finding: Finding, source: Source, sheets: Mapping[str, ProfileSheet | None]) -> Problem:
    """Into the profile's file if that is where the key stands, else into the site file."""
    path = finding.path
    if len(path) > 2 and path[0] == "devices" and path[2] not in ("line", "profile"):
        sheet = sheets.get(str(path[1]))
        below = path[2:]
        if sheet is not None and sheet.profile is not None:
            over = ("profiles", sheet.profile.profile, *below)
            if source.depth(over) - 2 > max(source.depth(path) - 2, 0):
                return place(source, Finding(over, finding.text, finding.level, finding.at_key))
        if sheet is not None and sheet.source is not None and sheet.source.depth(below) > source.depth(path) - 2:
            return place(sheet.source, Finding(below, finding.text, finding.level, finding.at_key))
    return place(source, finding)


def _sorted(problems: Iterable[Problem], file: str) -> tuple[Problem, ...]:
    """Each once, the site file first, in the order of lines, and not without end."""
    unique = dict.fromkeys(problems)
    ordered = sorted(unique, key=lambda one: (one.file != file, one.file, one.line, one.col, one.level))
    left = {"error": MOST, "warning": MOST}
    kept = []
    for problem in ordered:
        left[problem.level] -= 1
        if left[problem.level] >= 0:
            kept.append(problem)
    if len(kept) < len(ordered):
        level: Level = "error" if left["error"] < 0 else "warning"
        text = f"found {len(ordered) - len(kept)} more problems; the first {MOST} of a kind are shown"
        kept.append(Problem(file, 1, 1, "", level, text))
    return tuple(kept)
