"""picture: look through a camera as a round does, and say how it has to look."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.group import CANNOT, SITE, asking, commands, load_good, say, say_lines

if TYPE_CHECKING:
    from gateway.config.site import SiteFile
    from gateway.intake.by_hand import ByHand
    from gateway.site.round_settings import PictureRule


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

    if check and reference:
        raise click.UsageError("--check or --reference")
    _, file = load_good(site)
    if camera not in file.cameras:
        say(f"there is no camera {camera}; {', '.join(sorted(file.cameras)) or 'none is defined'}", err=True)
        return CANNOT
    by_hand, rule = _of(file, camera)
    with asking():
        if check:
            return asyncio.run(_checked(by_hand, rule, out))
        if reference:
            return _reference(file, by_hand, rule, out, asyncio.run(by_hand.picture()))
        jpeg = asyncio.run(by_hand.picture())
    say(f"{camera}: {len(jpeg)} bytes")
    _write(out, jpeg)
    return 0


def _of(file: "SiteFile", camera: str) -> "tuple[ByHand, PictureRule]":
    from gateway.clock import Clock
    from gateway.intake.by_hand import ByHand, rule_for
    from gateway.settings.camera_uses import camera_uses
    from gateway.settings.round_uses import round_settings
    from gateway.site.round_settings import PictureRule

    use = next(one for one in camera_uses(file) if one.id == camera)
    known = round_settings(file)
    rounds = () if known is None else known.rounds.values()
    rules = [item.rule for one in rounds for item in one.items if isinstance(item.rule, PictureRule)]
    return ByHand(use, Path(file.store.path) / "references", Clock()), rule_for(camera, rules)


async def _checked(by_hand: "ByHand", rule: "PictureRule", out: Path | None) -> int:
    found, jpeg = await by_hand.check(rule)
    say(f"{rule.camera}: {found.outcome}" + (f", {found.reason}" if found.reason else ""))
    lines = [found.detail or "", f"compared with {found.compared_with}" if found.compared_with else ""]
    lines += [f"{name} {value}" for name, value in (found.figures or {}).items()]
    say_lines("\n".join(line for line in lines if line))
    if jpeg is not None:
        _write(out, jpeg)
    return 0 if found.outcome == "normal" else CANNOT


def _reference(file: "SiteFile", by_hand: "ByHand", rule: "PictureRule", out: Path | None, jpeg: bytes) -> int:
    from gateway.safe_write import as_owner
    from gateway.technician.access import who

    with as_owner(Path(file.store.path) / "references" / "new"):
        name = by_hand.keep(jpeg, rule, who())
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
