"""The tree of a site file to its settings, part by part, so that one mistake hides no other."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, TypeAdapter, ValidationError

from gateway.config.device import Device
from gateway.config.lines import ModbusLine, PanelLine
from gateway.config.model_keys import names_at
from gateway.config.problems import MOST, Finding, Path, found, meant_key, near, translate, unknown_key, unknown_name
from gateway.config.profiles import ProfileSheet, ProfileShelf, lay_over
from gateway.config.site import SiteFile
from gateway.config.units import ID

DRIVERS: dict[str, Any] = {"modbus": ModbusLine, "gb26875": PanelLine}


@dataclass(slots=True)
class Assembly:
    """What could be built, and what was found wrong on the way."""

    parts: dict[str, Any] = field(default_factory=dict)
    """Good parts by the name of the model's field; of a mapping, its good entries."""
    findings: list[Finding] = field(default_factory=list)
    sheets: dict[str, ProfileSheet] = field(default_factory=dict)
    """The profile of each device that has one."""


def assemble(tree: dict[str, Any], shelf: ProfileShelf, base: str) -> Assembly:
    """Validate every part of the file. `base`: the folder that relative paths start from."""
    work = _Work(tree, shelf, base)
    work.run()
    return work.done


class _Work:
    def __init__(self, tree: dict[str, Any], shelf: ProfileShelf, base: str) -> None:
        self._tree = tree
        self._shelf = shelf
        self._context = {"base": base}
        self._empty: set[Path] = set()
        self.done = Assembly()

    def run(self) -> None:
        """Every top-level key once."""
        for path in islice(_nothing_at(self._tree, ()), MOST):
            self._empty.add(path)
            self._say(Finding(path, "found nothing; a value, or leave the key out"))
        names = {info.alias or name: name for name, info in SiteFile.model_fields.items()}
        written = {meant_key(key) for key in self._tree} | self._tree.keys()
        for key in islice((key for key in self._tree if key not in names), MOST):
            self._say(unknown_key((key,), list(names)))
        self._profiles()
        for key, name in names.items():
            if key == "profiles":
                continue
            if key in self._tree and (key,) not in self._empty:
                self._part(key, name)
            elif SiteFile.model_fields[name].is_required() and key not in written:
                self._say(Finding((key,), "is missing; it is required", at_key=True))

    def _say(self, finding: Finding) -> None:
        self.done.findings.append(finding)

    def _profiles(self) -> None:
        """What the site lays over profiles, before any device is built from one."""
        written = self._tree.get("profiles", {})
        if not isinstance(written, Mapping):
            self._say(Finding(("profiles",), f"{found(written)}; a mapping, PROFILE: {{points: …}}"))
            return
        for name, keys in islice(written.items(), MOST):
            path = ("profiles", name)
            if path in self._empty:
                continue
            if not isinstance(keys, Mapping):
                self._say(Finding(path, f"{found(keys)}; a mapping, {{points: …}}"))
                continue
            for finding in self._shelf.override(name, keys, self._context["base"]):
                self._say(Finding((*path, *finding.path), finding.text, finding.level, finding.at_key))

    def _part(self, key: str, name: str) -> None:
        kind = _kind(name)
        value = self._tree[key]
        if get_origin(kind) is not dict or get_origin(get_args(kind)[1]) is Literal:
            self._build(kind, value, (key,), self.done.parts, name)
            return
        if not isinstance(value, Mapping):
            self._say(Finding((key,), f"{found(value)}; a mapping, NAME: {{…}}"))
            return
        entries: dict[str, Any] = {}
        for entry, content in value.items():
            if len(self.done.findings) > MOST:
                break
            self._entry(key, entry, content, get_args(kind)[1], entries)
        self.done.parts[name] = entries

    def _entry(self, key: str, entry: str, content: Any, kind: Any, entries: dict[str, Any]) -> None:
        path = (key, entry)
        if not re.fullmatch(ID, entry) or entry.endswith("\n"):
            hint = re.sub(r"[^a-z0-9]+", "-", entry.lower()).strip("-")[:63]
            close = f"; did you mean '{hint}'?" if hint else ""
            text = f"{found(entry)}; a name of 1-63 of a-z, 0-9 and -, not beginning with -{close}"
            self._say(Finding(path, text, at_key=True))
        if path in self._empty:
            return
        if not isinstance(content, Mapping):
            self._say(Finding(path, f"{found(content)}; a mapping, {{KEY: VALUE, …}}"))
        elif key == "lines":
            self._line(content, path, entries)
        elif key == "devices":
            self._device(content, path, entries)
        else:
            self._build(kind, content, path, entries, entry)

    def _line(self, content: Mapping[str, Any], path: Path, entries: dict[str, Any]) -> None:
        driver = content.get("driver")
        if driver is None:
            if (*path, "driver") not in self._empty:
                self._say(Finding((*path, "driver"), "is missing; modbus | gb26875", at_key=True))
        elif not isinstance(driver, str) or driver not in DRIVERS:
            self._say(Finding((*path, "driver"), f"{found(driver)}; modbus | gb26875{near(driver, DRIVERS)}"))
        else:
            self._build(DRIVERS[driver], content, path, entries, str(path[1]))

    def _device(self, content: Mapping[str, Any], path: Path, entries: dict[str, Any]) -> None:
        name = content.get("profile")
        sheet = None
        blind = False
        merged = dict(content)
        if isinstance(name, str) and re.fullmatch(ID, name):
            sheet = self._shelf.find(name)
            blind = sheet is None or sheet.profile is None
            if sheet is None:
                self._say(Finding((*path, "profile"), self._shelf.unknown(name)))
        if sheet is not None and sheet.source is not None:
            self.done.sheets[str(path[1])] = sheet
            merged = lay_over(sheet, content)
            self._drop_unknown_points(merged, sheet, path)
        lines, written = self._tree.get("lines"), content.get("line")
        line = lines.get(written) if isinstance(lines, Mapping) and isinstance(written, str) else None
        if isinstance(line, Mapping) and line.get("driver") == "gb26875":
            merged.setdefault("kind", "panel")
        self._build(Device, merged, path, {} if blind else entries, str(path[1]), blind=blind)

    def _drop_unknown_points(self, merged: dict[str, Any], sheet: ProfileSheet, path: Path) -> None:
        """An override of a point that the profile does not have is a slip, unless it brings an address."""
        points = merged.get("points")
        if sheet.profile is None or not isinstance(points, dict):
            return
        known = sheet.profile.points
        for name in [name for name in points if name not in known]:
            point = points[name]
            if isinstance(point, Mapping) and "at" not in point:
                what = f"point of profile {sheet.profile.profile}"
                text = unknown_name(what, name, list(known)).replace(f"; {what}s are:", ", and has no `at`; it has:")
                self._say(Finding((*path, "points", name), text, at_key=True))
                del points[name]

    def _build(
        self, kind: Any, value: Any, path: Path, into: dict[str, Any], name: str, *, blind: bool = False
    ) -> None:
        """Validate one part. `blind`: its profile is missing or wrong; say nothing of what only that knows."""
        try:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                into[name] = kind.model_validate(value, context=self._context, by_alias=True, by_name=False)
            else:
                into[name] = TypeAdapter(kind).validate_python(value, context=self._context)
        except ValidationError as error:
            for one in error.errors(include_url=False)[:MOST]:
                if blind and "points" in one["loc"] and one["type"] in ("missing", "said"):
                    continue
                unknown = one["type"] == "extra_forbidden"
                finding = translate(one, value, names_at(kind, one["loc"]) if unknown else ())
                where = (*path, *finding.path)
                if where not in self._empty:
                    self._say(Finding(where, finding.text, finding.level, finding.at_key))


def _nothing_at(node: dict[str, Any] | list[Any], path: Path) -> Iterator[Path]:
    """Where the file has a key without a value."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        if value is None:
            yield (*path, key)
        elif type(value) in (dict, list):
            yield from _nothing_at(value, (*path, key))


@cache
def _kind(name: str) -> Any:
    """What a top-level key holds, without the "or absent"."""
    kind = _hints()[name]
    if get_origin(kind) in (Union, UnionType):
        rest = [one for one in get_args(kind) if one is not NoneType]
        return rest[0] if len(rest) == 1 else kind
    return kind


@cache
def _hints() -> dict[str, Any]:
    return get_type_hints(SiteFile, include_extras=True)
