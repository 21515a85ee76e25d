"""A site without hardware: simulate, demo."""

from pathlib import Path

import click

from gateway.cli.group import CANNOT, SITE, commands, load_good, say_lines


@commands.command()
@SITE
@click.option("--scenario", type=click.Path(path_type=Path, exists=True), help="A file of what happens when.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the same site with the virtual addresses here.")
@click.option("--broker", default="mqtt://127.0.0.1:1883", show_default=True, help="The broker for --out.")
def simulate(site: Path, scenario: Path | None, out: Path | None, broker: str) -> int:
    r"""Serve every line of a site file as virtual devices until SIGTERM or SIGINT.

    \b
    Example: site-gateway simulate site.yaml --out sim.yaml
    In another terminal, when it says so: site-gateway run sim.yaml
    """
    from gateway.errors import GatewayError
    from simulators.serve import simulate as serve

    loaded, file = load_good(site)
    try:
        serve(loaded, file, scenario, out, broker)
    except (GatewayError, OSError) as error:
        say_lines(str(error), err=True)
        return CANNOT
    return 0


@commands.command()
@click.option("--for", "seconds", metavar="DURATION", help="End after this time, such as 30s.")
@click.option("--scenario", metavar="NAME", default="demo", show_default=True, help="What happens: config/scenarios.")
def demo(seconds: str | None, scenario: str) -> int:
    r"""Run the example site whole: virtual devices, broker, gateway; a fire breaks out after some seconds.

    \b
    Example: site-gateway demo --for 30s
    """
    from gateway.arguments import duration
    from gateway.errors import GatewayError
    from simulators.demo import demo as run_demo

    try:
        limit = None if seconds is None else duration(seconds)
    except ValueError as error:
        raise click.BadParameter(f"{seconds!r}: {error}", param_hint="--for") from error
    try:
        run_demo(limit, scenario)
    except (GatewayError, OSError) as error:
        say_lines(str(error), err=True)
        return CANNOT
    return 0
