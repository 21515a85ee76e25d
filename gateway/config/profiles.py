"""Device profiles: where they lie, and how a device's own keys are laid over one.

`profiles/NAME.yaml` beside the site file comes first, then the ones that are shipped.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gateway.config.device import Profile
from gateway.config.file_checks import read_file
from gateway.config.model_keys import names_at
from gateway.config.problems import Finding, Problem, dotted, near, translate, unknown_name
from gateway.config.source import Source, SourceError, read
from gateway.config.units import ID

_NOT_MERGED = frozenset({"profile", "line"})
"""Keys of a profile that mean something else in a device, or nothing."""


def shipped() -> Path:
    """The folder of the profiles that come with the program: in an installed package, else in the checkout."""
    package = Path(__file__).parents[1] / "profiles"
    return package if package.is_dir() else Path(__file__).parents[2] / "config" / "profiles"


@dataclass(frozen=True, slots=True)
class ProfileSheet:
    """A profile that was found: its text with places, and its settings unless it is wrong."""

    source: Source | None
    profile: Profile | None
    tree: Mapping[str, Any] = field(default_factory=dict)
    """What it says, with what the site file lays over it."""


class ProfileShelf:
    """The profiles within reach of a site file; each is read once."""

    def __init__(self, site_file: str) -> None:
        self._folders = (Path(site_file).parent / "profiles", shipped())
        self._sheets: dict[str, ProfileSheet | None] = {}
        self._names: list[str] = []
        self.problems: list[Problem] = []

    def names(self) -> list[str]:
        """Every profile that may be named."""
        if not self._names:
            found = {path.stem for folder in self._folders if folder.is_dir() for path in folder.glob("*.yaml")}
            self._names = sorted(found)
        return self._names

    def find(self, name: str) -> ProfileSheet | None:
        """The profile of this name; None if there is none. What is no name is looked for nowhere."""
        if not re.fullmatch(ID, name):
            return None
        if name not in self._sheets:
            paths = (folder / f"{name}.yaml" for folder in self._folders)
            path = next((path for path in paths if path.is_file()), None)
            self._sheets[name] = None if path is None else self._open(name, path)
        return self._sheets[name]

    def unknown(self, name: str) -> str:
        """What to say of a profile that does not exist."""
        names = self.names()
        close = near(name, names)
        if not close:
            return unknown_name("profile", name, names)
        return f"found '{name}', which is no profile; profiles/NAME.yaml beside this file, or a shipped one{close}"

    def _open(self, name: str, path: Path) -> ProfileSheet:
        try:
            source = read(read_file(str(path)), str(path))
        except SourceError as error:
            self.problems.append(error.problem)
            return ProfileSheet(None, None)
        try:
            profile = Profile.model_validate(source.tree, by_alias=True, by_name=False)
        except ValidationError as error:
            found = error.errors(include_url=False)
            findings = [translate(one, source.tree, names_at(Profile, one["loc"])) for one in found]
            self.problems += [place(source, finding) for finding in findings]
            return ProfileSheet(source, None, source.tree)
        if profile.profile != name:
            text = f"found '{profile.profile}'; '{name}', the name of the file"
            self.problems.append(place(source, Finding(("profile",), text)))
        return ProfileSheet(source, profile, source.tree)

    def override(self, name: str, written: Mapping[str, Any], base: str) -> list[Finding]:
        """Lay the site's own keys over a profile, for every device that has it. What is wrong, below `profiles.NAME`.

        `written`: a mapping of the site file. `base`: the folder that relative paths start from.
        """
        sheet = self.find(name)
        if sheet is None:
            return [Finding((), self.unknown(name), at_key=True)]
        if sheet.profile is None:
            return []
        findings = [
            Finding((key,), f"found {key}, which names the profile itself; leave it out", at_key=True)
            for key in written
            if key == "profile"
        ]
        merged = _merged(sheet.tree, {key: value for key, value in written.items() if key != "profile"})
        try:
            profile = Profile.model_validate(merged, context={"base": base}, by_alias=True, by_name=False)
        except ValidationError as error:
            found = error.errors(include_url=False)
            return findings + [translate(one, merged, names_at(Profile, one["loc"])) for one in found]
        self._sheets[name] = ProfileSheet(sheet.source, profile, merged)
        return findings


def place(source: Source, finding: Finding) -> Problem:
    """The finding with its line in the file."""
    line, col = source.place(finding.path, at_key=finding.at_key)
    return Problem(source.file, line, col, dotted(finding.path), finding.level, finding.text)


def lay_over(sheet: ProfileSheet, written: Mapping[str, Any]) -> dict[str, Any]:
    """A device's keys over its profile's: mappings by key, everything else replaced.

    Points that the device does not touch are taken as they were built, once for all devices of the profile.
    """
    base = {key: value for key, value in sheet.tree.items() if key not in _NOT_MERGED}
    result = _merged(base, written)
    points, own = result.get("points"), written.get("points", {})
    if sheet.profile is not None and isinstance(points, dict) and isinstance(own, Mapping):
        built = sheet.profile.points
        result["points"] = {name: built[name] if name in built and name not in own else points[name] for name in points}
    return result


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in over.items():
        below = base.get(key)
        result[key] = _merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return result
