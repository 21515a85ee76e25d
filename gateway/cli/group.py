"""The group that every command belongs to, and what commands share."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.cli import completion
from gateway.printable import harmless, harmless_json, harmless_lines

if TYPE_CHECKING:
    from gateway.config.load import Loaded
    from gateway.config.site import SiteFile

WRONG_FILE = 1
CANNOT = 2
NOT_RUNNING = 3
USAGE = 64
BUG = 70
"""EX_SOFTWARE of sysexits.h."""


class _Command(click.Command):
    """One whose examples stand as they are written: `\\b` in a raw docstring."""

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The text between usage and options."""
        self.help = _paragraphs(self.help)
        super().format_help_text(ctx, formatter)

    def get_short_help_str(self, limit: int = 45) -> str:
        """The line in the list of commands."""
        self.help = _paragraphs(self.help)
        return super().get_short_help_str(limit)


class Group(_Command, click.Group):
    """One of several commands."""

    command_class = _Command


Group.group_class = Group


def _paragraphs(text: str | None) -> str | None:
    return text and text.replace("\\b", "\b")


SITE = click.argument(
    "site", type=click.Path(path_type=Path), metavar="SITE.yaml", shell_complete=completion.site_files
)


def _tell_version(context: click.Context, _parameter: click.Parameter, asked: bool) -> None:
    if not asked or context.resilient_parsing:
        return
    from gateway.package import version_words

    click.echo(f"site-gateway, version {version_words()}")
    context.exit()


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_tell_version,
    help="Show the version and exit.",
)
def commands() -> None:
    r"""The edge gateway of a residential compound: fire sensors, gates and cameras to MQTT.

    \b
    Example: site-gateway check site.yaml && site-gateway run site.yaml
    """


def load_site(site: Path) -> "Loaded":
    """The file with every problem in it."""
    from gateway.config.load import load

    return load(site)


def load_timed(site: Path, *, contents: bool = False) -> "Loaded":
    """The file with every problem in it, also those of its lines' time, and (`contents`) of the files it names."""
    from gateway.settings.plan import load_timed as load_it

    return load_it(site, contents=contents)


def load_good(site: Path) -> "tuple[Loaded, SiteFile]":
    """The file, or its errors on stderr and the end."""
    loaded = load_site(site)
    if loaded.site is None:
        for problem in loaded.problems:
            say(str(problem), err=True)
        sys.exit(WRONG_FILE)
    return loaded, loaded.site


@contextmanager
def asking() -> Iterator[None]:
    """While the running daemon is asked: none runs, or it says no, is said in a line and ends the command."""
    from gateway.errors import GatewayError

    try:
        yield
    except ConnectionError as error:
        say_lines(str(error), err=True)
        sys.exit(NOT_RUNNING)
    except GatewayError as error:
        say_lines(str(error), err=True)
        sys.exit(CANNOT)


def ask_daemon(site: Path, what: str) -> Any:
    """Ask the running daemon of this site file, or say that none runs and end."""
    from gateway.local.control import Daemon

    _, file = load_good(site)
    with asking():
        return Daemon(file.store.path).ask({"ask": what})


def say(text: str, *, err: bool = False) -> None:
    """Print one line; what came from outside does nothing to the terminal."""
    click.echo(harmless(text), err=err)


class OnStderr:
    """Lines on standard error; how far something is, is not shown."""

    def tell(self, done: int, of: int, doing: str) -> None:
        """Nothing: there is no bar."""

    def say(self, line: str) -> None:
        """A line."""
        say(line, err=True)


def say_lines(text: str, *, err: bool = False) -> None:
    """Print text that was put together of lines."""
    click.echo(harmless_lines(text), err=err)


def print_json(value: Any) -> None:
    """The answer of `--json`."""
    import orjson

    text = orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode()
    click.echo(harmless_json(text))
