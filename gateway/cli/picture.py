"""picture: look through a camera as a round does, and say how it has to look."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.group import CANNOT, SITE, asking, commands, load_good, say, say_lines

if TYPE_CHECKING:
    from gateway.config.site import SiteFile
    from gateway.intake.by_hand import ByHand


@commands.command()
@SITE
@click.argument("camera")
@click.option("--check", is_flag=True, help="Say how a round would judge it now; takes 5 to 15 s.")
@click.option("--reference", is_flag=True, help="This is how it has to look: keep it to compare with.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the picture as it came to a file.")
def picture(site: Path, camera: str, out: Path | None, *, check: bool, reference: bool) -> int:
    r"""Take a camera's picture of this moment. The daemon may run or not.

    \b
    Example: site-gateway picture site.yaml yard --check --out yard.jpg
    """
    import asyncio

    from gateway.clock import Clock
    from gateway.intake.by_hand import ByHand

    if check and reference:
        raise click.UsageError("--check or --reference")
    _, file = load_good(site)
    if camera not in file.cameras:
        say(f"there is no camera {camera}; {', '.join(sorted(file.cameras)) or 'none is defined'}", err=True)
        return CANNOT
    with asking():
        by_hand = ByHand(file, camera, Clock())
        if check:
            return asyncio.run(_checked(by_hand, camera, out))
        if reference:
            return _reference(file, by_hand, out, asyncio.run(by_hand.picture()))
        jpeg = asyncio.run(by_hand.picture())
    say(f"{camera}: {len(jpeg)} bytes")
    _write(out, jpeg)
    return 0


async def _checked(by_hand: "ByHand", camera: str, out: Path | None) -> int:
    found, jpeg = await by_hand.check()
    say(f"{camera}: {found.outcome}" + (f", {found.reason}" if found.reason else ""))
    lines = [found.detail or "", f"compared with {found.compared_with}" if found.compared_with else ""]
    lines += [f"{name} {value}" for name, value in (found.figures or {}).items()]
    say_lines("\n".join(line for line in lines if line))
    if jpeg is not None:
        _write(out, jpeg)
    return 0 if found.outcome == "normal" else CANNOT


def _reference(file: "SiteFile", by_hand: "ByHand", out: Path | None, jpeg: bytes) -> int:
    from gateway.intake.by_hand import folder_of
    from gateway.safe_write import as_owner
    from gateway.technician.access import who

    with as_owner(folder_of(file) / "new"):
        name = by_hand.keep(jpeg, who())
    say(f"{name}: from now on pictures of this light are compared with it")
    _write(out, jpeg)
    return 0


def _write(out: Path | None, jpeg: bytes) -> None:
    from gateway.safe_write import as_owner, replace_file

    if out is None:
        return
    try:
        with as_owner(out):
            replace_file(out, jpeg)
    except OSError as error:
        say(f"{out}: {error.strerror}", err=True)
        sys.exit(CANNOT)
    say(f"{out}: {len(jpeg)} bytes")
