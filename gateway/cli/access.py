"""Lists of plates and who is inside: `site-gateway access …`."""

from pathlib import Path

import click

from gateway.cli import completion
from gateway.cli.group import CANNOT, SITE, WRONG_FILE, asking, commands, load_good, print_json, say, say_lines


@commands.group()
def access() -> None:
    r"""Bring in a list of plates, see what is kept of a plate, or who is inside.

    \b
    Example: site-gateway access import site.yaml residents.csv
    """


@access.command(name="import")
@SITE
@click.argument("csv", type=click.Path(path_type=Path), metavar="FILE.csv")
@click.option("--list", "name", metavar="NAME", help="The list that it replaces; else the name of the file.")
@click.option("--check", is_flag=True, help="Read it, say what is wrong, and change nothing.")
def import_(site: Path, csv: Path, name: str | None, *, check: bool) -> int:
    r"""Replace a list by a CSV file: `plate,kind,from,until,gates,note`.

    Every mistake is named with its line, and then nothing is changed. With a running gateway the list is in force
    when the command ends, else from the next start on. A CSV of the site file that changes later replaces it again.

    \b
    Example: site-gateway access import site.yaml residents.csv
    """
    from gateway.errors import GatewayError
    from gateway.technician import access as work

    _, file = load_good(site)
    try:
        name, reading = work.read_csv(file, csv, name)
        for line in work.problems(csv, reading):
            say(line, err=True)
        if reading.list is None:
            return WRONG_FILE
        say(f"{csv}: good: {len(reading.list)} lines" if check else work.bring_in(file, name, reading.list))
    except GatewayError as error:
        say_lines(str(error), err=True)
        return CANNOT
    return 0


@access.command()
@SITE
@click.argument("plate")
@click.option("--gate", shell_complete=completion.gates, help="Only this gate.")
@click.option("--json", "as_json", is_flag=True, help="Print everything that is kept, with its events, as JSON.")
def show(site: Path, plate: str, gate: str | None, *, as_json: bool) -> int:
    r"""Show what is kept of a plate, and what would be decided about it at a gate now, with the reason.

    Looking at a plate stands in the audit of the running gateway. Without one only the stored lists are asked.

    \b
    Example: site-gateway access show site.yaml 鄂A12345 --gate north-in
    """
    from gateway.errors import GatewayError
    from gateway.technician.access import show as look

    _, file = load_good(site)
    if gate is not None and gate not in file.gates:
        say(f"--gate: there is no gate {gate!r}; {' | '.join(file.gates)}", err=True)
        return CANNOT
    try:
        kept = look(file, plate, gate)
    except GatewayError as error:
        say_lines(str(error), err=True)
        return CANNOT
    if as_json:
        print_json(kept)
        return 0
    if not kept["running"]:
        say("the gateway does not run: by its stored lists only", err=True)
    for line in kept["lists"]:
        say(f"listed: {line['list']} {line['kind']} {line['note'] or ''}".rstrip())
    if kept.get("inside"):
        say(f"inside since {kept['inside']['since']}")
    if kept.get("events"):
        say(f"events: {len(kept['events']) + kept['more']}; the last {kept['events'][-1]['time']}")
    for one in kept["gates"]:
        say(f"{one['gate']} {one['direction']}: {one['decision']} ({one['reason']})")
    return 0


@access.command()
@SITE
@click.option("--json", "as_json", is_flag=True, help="Print {inside, more, counts}.")
def who(site: Path, *, as_json: bool) -> int:
    r"""List who is inside; asking stands in the audit.

    \b
    Example: site-gateway access who site.yaml
    """
    from gateway.model import rfc3339
    from gateway.technician.access import inside

    _, file = load_good(site)
    with asking():
        found = inside(file)
    if as_json:
        print_json(found)
        return 0
    for car in found["inside"]:
        say(f"{rfc3339(car['since'])} {car['plate']} {car['kind']}")
    say(", ".join(f"{kind} {count}" for kind, count in sorted(found["counts"].items())) or "nobody is inside")
    return 0
