"""What the shell offers for a word that is being typed: site files, and the names in the one that was typed before.

eval "$(_SITE_GATEWAY_COMPLETE=bash_source site-gateway)"     # zsh_source, fish_source

Nothing here may fail or say a word: half a command line is no mistake.
"""

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from gateway.config.site import SiteFile

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def site_files(_context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """YAML files and folders."""
    base = Path(typed) if typed.endswith("/") else Path(typed).parent
    found: list[CompletionItem] = []
    with suppress(OSError):
        for path in sorted(base.iterdir()):
            name = str(path) + ("/" if path.is_dir() else "")
            if name.startswith(typed) and (path.is_dir() or path.suffix in (".yaml", ".yml")):
                found.append(CompletionItem(name))
    return found


def _names(of: "Callable[[SiteFile], Iterable[str]]") -> Complete:
    def complete(context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
        file = _file(context)
        return [] if file is None else _fitting(of(file), typed)

    return complete


def _points(file: "SiteFile") -> Iterable[str]:
    for name, device in file.devices.items():
        yield name
        yield from (f"{name}.{point}" for point in device.points)


def _writable(file: "SiteFile") -> Iterable[str]:
    for name, device in file.devices.items():
        yield from (f"{name}.{key}" for key, point in device.points.items() if point.write)


def _zones(file: "SiteFile") -> Iterable[str]:
    return (*file.zones, "site")


points = _names(_points)
writable = _names(_writable)
zones = _names(_zones)
lines = _names(lambda file: file.lines)
gates = _names(lambda file: file.gates)


def commands(_context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """What `do` can be asked for."""
    from gateway.commands import OFFERED

    return _fitting(OFFERED, typed)


def arguments(context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """`KEY=` of the command, and after it the names that the site file has."""
    from gateway.arguments import Name, Words
    from gateway.commands import COMMANDS

    declared = COMMANDS.get(str(context.params.get("command")))
    args = {} if declared is None else declared.args
    key, sign, value = typed.partition("=")
    if not sign:
        return _fitting((f"{name}=" for name in args), typed)
    names: Iterable[str] = ()
    match args[key].kind if key in args else None:
        case Words(words):
            names = words
        case Name(of=part) if part and (file := _file(context)) is not None:
            names = getattr(file, part)
    return _fitting((f"{key}={name}" for name in names), f"{key}={value}")


def _file(context: click.Context) -> "SiteFile | None":
    from gateway.config.load import load

    site = context.params.get("site")
    if site is None:  # an option without its value hides what stood before it
        words = os.environ.get("COMP_WORDS", "").split()
        site = next((word for word in words if word.endswith((".yaml", ".yml"))), None)
    return None if site is None else load(site).site


def _fitting(names: Iterable[str], typed: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(typed)]
