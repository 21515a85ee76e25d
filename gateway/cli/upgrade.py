"""Another version of the program, and the way back."""

import os
import sys
from pathlib import Path

import click

from gateway.cli.group import CANNOT, USAGE, commands, say, say_lines


@commands.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="[FILE.deb]", required=False)
@click.option("--undo", is_flag=True, help="Have the version before run again.")
@click.option(
    "--site",
    type=click.Path(path_type=Path),
    default="/etc/site-gateway/site.yaml",
    show_default=True,
    help="What the new version must be able to read.",
)
def upgrade(file: Path | None, site: Path, *, undo: bool) -> int:
    r"""Install another version from a signed file (FILE.deb and FILE.deb.sig), or go back to the one before.

    The new version is on trial for 5 minutes: what answered before has to answer, else the one before runs again.

    \b
    Example: sudo site-gateway upgrade site-gateway_0.2.0_arm64.deb
    Example: sudo site-gateway upgrade --undo
    """
    from gateway.errors import GatewayError
    from gateway.package import package
    from gateway.technician import upgrade as doing

    if (file is None) is not undo:
        say("FILE.deb, or --undo", err=True)
        sys.exit(USAGE)
    place = package()
    if place is None or os.geteuid() != 0:
        say("this program is of no package" if place is None else "only root may: run it with sudo", err=True)
        return CANNOT
    try:
        if file is None:
            say(f"{doing.undo(place)} runs again")
        else:
            for step in doing.upgrade(place, file, site):
                say(step)
    except (GatewayError, OSError) as error:
        say_lines(f"not upgraded: {error}", err=True)
        return CANNOT
    return 0
