"""Plate cameras for who mounts them: `site-gateway camera …`."""

from pathlib import Path

import click

from gateway.cli.group import SITE, asking, commands, load_good, print_json, say, say_lines


@commands.group()
def camera() -> None:
    r"""Look at what a plate camera sent.

    \b
    Example: site-gateway camera last site.yaml lpr-north
    """


@camera.command()
@SITE
@click.argument("name", metavar="CAMERA")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write its bytes as they came to a file.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON, its bytes in base64.")
def last(site: Path, name: str, out: Path | None, *, as_json: bool) -> int:
    r"""Show the last push of a camera that could not be read, at most 64 KiB of it; plates are masked.

    \b
    Example: site-gateway camera last site.yaml lpr-north --out push.bin
    """
    import base64

    from gateway.local.control import Daemon
    from gateway.masks import without_plates
    from gateway.safe_write import as_owner, replace_file
    from gateway.technician.access import who

    _, file = load_good(site)
    with asking():
        found = Daemon(file.store.path).ask({"ask": "camera.last", "camera": name, "by": who()})
    if as_json:
        print_json(found)
        return 0
    if not isinstance(found, dict):
        say(f"{name}: every push could be read since the start")
        return 0
    body = base64.b64decode(str(found["body_base64"]))
    say(f"{found['time']} {name} {found['path']} {found['content_type']}: {found['size']} bytes: {found['why']}")
    if out is not None:
        with as_owner(out):
            replace_file(out, body)
        say(f"{out}: {len(body)} bytes")
        return 0
    text = _readable(body)
    say_lines(without_plates("".join(one if one.isprintable() or one in "\n\t" else "." for one in text)))
    return 0


def _readable(body: bytes) -> str:
    """The text of a push, with Chinese signs as such however they were sent: else plates could not be masked."""
    import html
    import re

    def plain(said: bytes) -> str:
        for encoding in ("utf-8", "gb18030"):
            try:
                return said.decode(encoding)
            except UnicodeDecodeError:
                continue
        return said.decode("gb18030", "backslashreplace")

    escaped = re.compile(rb"(?:%[89A-Fa-f][0-9A-Fa-f](?:%[0-9A-Fa-f]{2})*)+")
    return html.unescape(plain(escaped.sub(lambda run: bytes.fromhex(run[0].replace(b"%", b"").decode()), body)))
