"""The local page: its address, its users' passwords, its certificate."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.group import CANNOT, SITE, asking, commands, load_good, say, say_lines

_SHORTEST = 8
"""Characters of a password."""

if TYPE_CHECKING:
    from gateway.config.access import StatusPage
    from gateway.config.site import SiteFile


@commands.command()
@SITE
@click.option("--code", is_flag=True, help="Print a link that logs a technician in once, within 5 minutes.")
@click.option("--sticker", metavar="FILE.svg", type=click.Path(path_type=Path), help="Write a sticker for the cabinet.")
@click.option("--host", metavar="NAME", help="What people on site call this box; else its own address.")
def page(site: Path, *, code: bool, sticker: Path | None, host: str | None) -> int:
    r"""Print where the local page is, as a link and as a code for a phone's camera.

    \b
    Example: site-gateway page site.yaml
    Example: site-gateway page site.yaml --code
    Example: site-gateway page site.yaml --sticker door.svg
    """
    from gateway.technician import page_link as work
    from gateway.technician.certificate import own_names

    _check_names("--host", () if host is None else (host,))
    file, settings = _page_of(site)
    link = work.address(settings, own_names(), host)
    if sticker is not None:
        return _write(sticker, work.sticker(link, file.site.name or file.site.id).encode(), 0o644)
    if code:
        from gateway.local.control import Daemon
        from gateway.technician.access import who

        with asking():
            told: Any = Daemon(file.store.path).ask({"ask": "page.code", "by": who()})
        link = work.with_code(link, str(told["code"]))
    if sys.stdout.isatty() or code:
        say_lines(work.for_terminal(link))
    say(link)
    return 0


@commands.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@click.option("--stdin", "from_stdin", is_flag=True, help="Read the password from the first line of stdin.")
def passwd(file: Path, *, from_stdin: bool) -> int:
    r"""Write a password for the local page to a file, hashed; the file is replaced.

    The site file names it: users: {zhang: {role: guard, password: {file: zhang.pass}}}

    \b
    Example: site-gateway passwd /etc/site-gateway/zhang.pass
    """
    from gateway.local.passwords import LONGEST, hashed, is_text

    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    if not _SHORTEST <= len(password) <= LONGEST:
        say(f"the password: {_SHORTEST}-{LONGEST} characters", err=True)
        return CANNOT
    if not is_text(password):
        say("the password: it is no UTF-8; write it in a terminal of UTF-8", err=True)
        return CANNOT
    return _write(file, f"{hashed(password)}\n".encode(), 0o640)


@commands.command()
@click.argument("cert", type=click.Path(path_type=Path), metavar="CERT")
@click.argument("key", type=click.Path(path_type=Path), metavar="KEY")
@click.option("--name", "names", multiple=True, metavar="NAME", help="A further name or address of this box.")
@click.option("--renew", is_flag=True, help="Replace files that are there.")
def certificate(cert: Path, key: Path, names: tuple[str, ...], *, renew: bool) -> int:
    r"""Make key and certificate of the local page, for this machine's addresses and names.

    The site file names them: status: {tls: {cert: page.crt, key: page.key}}. A browser warns of it once: compare the
    fingerprint that is printed with the one that the browser shows. A running gateway takes new ones within a minute.

    \b
    Example: site-gateway certificate page.crt page.key --name gateway.example.lan
    """
    from gateway.technician.certificate import make, own_names

    _check_names("--name", names)
    if cert.absolute() == key.absolute():
        raise click.UsageError("CERT and KEY: two files")
    there = [str(path) for path in (cert, key) if path.exists()]
    if there and not renew:
        say(f"{', '.join(there)}: is there already; --renew replaces it", err=True)
        return CANNOT
    made = make(list(dict.fromkeys([*names, *own_names()])))
    status = _write(key, made.key, 0o640) or _write(cert, made.certificate, 0o644)
    if status == 0:
        say(f"SHA-256 {made.fingerprint}")
    return status


def _check_names(option: str, names: Iterable[str]) -> None:
    """What people call this box has to be a name that a browser knows. Raises UsageError."""
    from gateway.technician.certificate import is_name

    if wrong := ", ".join(repr(name) for name in names if not is_name(name)):
        raise click.UsageError(f"{option}: an address, or a name of letters, digits, - and dots; found {wrong}")


def _page_of(site: Path) -> "tuple[SiteFile, StatusPage]":
    """The page of the file, or an error and the end."""
    _, file = load_good(site)
    if file.http is None or file.http.status is None:
        say("http.status: found none: this gateway has no page", err=True)
        sys.exit(CANNOT)
    return file, file.http.status


def _write(path: Path, content: bytes, mode: int) -> int:
    """As whoever owns the folder; of root's folders, readable by the folder's group."""
    from gateway.safe_write import as_owner, replace_file

    try:
        with as_owner(path):
            replace_file(path, content, mode)
            group = path.absolute().parent.stat().st_gid
            if os.geteuid() == 0 and group:
                os.chown(path, -1, group, follow_symlinks=False)
    except OSError as error:
        say(f"{path}: {error.strerror}", err=True)
        return CANNOT
    say(str(path))
    return 0
