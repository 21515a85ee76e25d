"""What a technician sends to somebody who helps."""

import os
import time
from pathlib import Path

import click

from gateway.cli.group import CANNOT, SITE, commands, load_timed, say, say_lines


@commands.command(name="support-bundle")
@SITE
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE.tar.gz", help="Else support-TIME.tar.gz here.")
@click.option("--preview", is_flag=True, help="Print everything that would be in it, and write nothing.")
def support_bundle(site: Path, out: Path | None, *, preview: bool) -> int:
    r"""Write an archive for somebody who helps: health, alarms, the site file's technical part, versions.

    Only what is on a list is taken: no secret, plate, picture, name, place or address. Its manifest says what is in
    it, and how many values stayed out.

    \b
    Example: site-gateway support-bundle site.yaml --preview
    """
    from gateway.local.control import Daemon
    from gateway.safe_write import as_owner, replace_file
    from gateway.technician.support import bundle

    path = out or Path(f"support-{time.strftime('%Y%m%d-%H%M%S')}.tar.gz")
    if not preview and os.path.lexists(path):
        say(f"{path}: is there already", err=True)
        return CANNOT
    loaded = load_timed(site)
    made = bundle(loaded, None if loaded.site is None else Daemon(loaded.site.store.path))
    for line in made.missing:
        say_lines(f"it is without {line}", err=True)
    if preview:
        for name, data in made.contents().items():
            say(f"--- {name}")
            say_lines(data.decode().rstrip())
        say(f"--- {made.left_out} values stay out")
        return 0
    try:
        with as_owner(path):
            replace_file(path, made.archive(), 0o600)
    except OSError as error:
        say(f"{path}: {error.strerror}", err=True)
        return CANNOT
    say(f"{path}: {len(made.files)} files; {made.left_out} values stayed out")
    return 0
