"""rounds, places: what rounds found, out of the store, with the daemon running or not."""

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.group import CANNOT, SITE, commands, load_good, print_json, say

if TYPE_CHECKING:
    from gateway.config.site import SiteFile
    from gateway.technician.rounds import Week

_FOREVER_S = 1e11


@commands.command()
@SITE
@click.option("--run", "run_id", metavar="ID", help="Only this run.")
@click.option("--week", metavar="YYYY-Www", help="An ISO week, such as 2026-W48.  [default: this week]")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write the sheet of the week here.")
@click.option("--json", "as_json", is_flag=True, help="Print runs, missed runs and findings as JSON.")
def rounds(site: Path, run_id: str | None, week: str | None, html: Path | None, *, as_json: bool) -> int:
    r"""Show what the rounds of a week found, or write its sheet for A4 (print it from any browser).

    The store is opened read-only; the daemon may run or not. If it runs, the runs under way are shown with what people
    are asked.

    \b
    Example: site-gateway rounds site.yaml --week 2026-W48 --html week.html
    """
    from zoneinfo import ZoneInfo

    from gateway.cloud.journal.reading import JournalReader
    from gateway.errors import StoreError
    from gateway.technician.rounds import of_run, week_of

    _, file = load_good(site)
    zone = ZoneInfo(file.site.timezone)
    try:
        first, last = week_of(week, zone, datetime.now(UTC))
    except ValueError:
        say(f"--week: found {week}; an ISO week, such as 2026-W48", err=True)
        return CANNOT
    try:
        with JournalReader(Path(file.store.path)) as reader:
            run = None if run_id is None else _run(reader, run_id)
            if run_id is not None and run is None:
                say(f"there is no finished run {run_id}", err=True)
                return CANNOT
            if run is None:
                found = _found(reader, first, last)
            else:
                due = datetime.fromisoformat(run.get("planned_at") or run["started_at"])
                found = of_run(_found(reader, *week_of(None, zone, due)), run)
            if html is not None:
                _write(reader, file, found, html, None if run is None else run["round"])
    except (StoreError, OSError) as error:
        say(str(error), err=True)
        return CANNOT
    if as_json:
        print_json({"runs": found.runs, "missed": found.missed, "findings": list(found.findings.values())})
    elif html is None:
        _show(found)
        _show_running(file)
    return 0


def _run(reader: Any, run_id: str) -> Any:
    """A finished run; None: there is none."""
    from gateway.model import Stream

    events = reader.events(Stream.INSPECTION, 0.0, _FOREVER_S)
    finished = (event["data"] for event in events if event["type"].endswith(".inspection.finished.v1"))
    return next((data for data in finished if data["run"] == run_id), None)


def _found(reader: Any, first: datetime, last: datetime) -> "Week":
    """All that is kept is read: a finding may have been told of before the week, or after it only."""
    from gateway.model import Stream
    from gateway.technician.rounds import add_notes, sort_events

    standing = [value for value in reader.memory("finding/").values() if isinstance(value, dict)]
    week = sort_events(reader.events(Stream.INSPECTION, 0.0, _FOREVER_S), first, last, standing)
    if week.findings:
        add_notes(week, reader.events(Stream.AUDIT, 0.0, last.timestamp()))
    return week


def _write(reader: Any, file: "SiteFile", found: "Week", html: Path, only: str | None) -> None:
    """`only`: of this round."""
    from gateway.safe_write import as_owner, replace_file
    from gateway.technician.rounds import Heading, sheet

    titles = {name: one.title or name for name, one in file.inspection.items()}
    names = titles if only is None else {only: titles.get(only, only)}
    trends = reader.memory("round/trend/")
    shown = {key: values for key, values in trends.items() if only in (None, key.partition("/")[0])}
    made = f"{datetime.now(found.first.tzinfo):%Y-%m-%d %H:%M}"
    site = file.site.name or file.site.id
    kept = {id_: jpeg for id_ in found.pictures() if (jpeg := reader.picture(id_)) is not None}
    text = sheet(found, Heading(site, made, names), kept, shown)
    with as_owner(html):
        replace_file(html, text.encode(), 0o644)


def _show(found: "Week") -> None:
    if not found.is_whole:
        since = "none" if found.kept_from is None else f"those from {found.kept_from:%Y-%m-%dT%H:%M:%S}Z on"
        say(f"of the records {since} are kept")
    for run in found.runs:
        counts = dict.fromkeys(("normal", "abnormal", "not-checkable"), 0)
        for item in run["items"]:
            counts[item["outcome"]] += 1
        say(
            f"{run['started_at'][:19]}Z  {run['round']}  {run['run']}  "
            + ", ".join(f"{n} {o}" for o, n in counts.items())
        )
        for item in run["items"]:
            if item["outcome"] != "normal":
                say(f"  {item['outcome']:13}  {item['item']}  {item.get('reason') or ''}")
    for one in found.missed:
        say(f"{(one.get('planned_at') or '?')[:19]}Z  {one['round']}  missed: {one['items'][0].get('reason')}")
    for finding in found.findings.values():
        if finding.get("cured_at") is None:
            what = f"{finding['round']}/{finding['item']}  {finding.get('reason')}"
            say(f"open  {what}  since {finding['opened_at'][:19]}Z")
            for note in finding.get("notes") or ():
                say(f"  {note['at'][:19]}Z  {note['by']}: {note['note']}")


def _show_running(file: "SiteFile") -> None:
    """What runs now and whom it asks what, if the daemon runs."""
    from gateway.errors import GatewayError
    from gateway.local.control import Daemon

    now: Any = {}
    with suppress(ConnectionError, GatewayError):
        now = Daemon(file.store.path).ask({"ask": "rounds"})
    for name, run in (now.get("running") or {}).items():
        say(f"now   {name}  {run['run']}  {run['done']} of {run['of']} items")
        for one in run["asked"]:
            photo = "  (photo)" if one["photo"] else ""
            say(f"  asks  {one['item']}  {one['place'] or ''}{photo}")


@commands.command()
@SITE
@click.option("--html", required=True, type=click.Path(path_type=Path, dir_okay=False), help="Where the cards go.")
def places(site: Path, html: Path) -> int:
    r"""Write a card for each place of the rounds, to hang there: its name, what is asked, its printed code.

    \b
    Example: site-gateway places site.yaml --html places.html
    """
    from gateway.errors import ConfigError
    from gateway.safe_write import as_owner, replace_file
    from gateway.settings.round_uses import place_tags, round_settings
    from gateway.technician.rounds import Card, places_sheet

    _, file = load_good(site)
    made, tags = round_settings(file), place_tags(file)
    cards: list[Card] = []
    try:
        for name, place in file.places.items():
            proof = tags.get(name)
            code = proof.secret.read().strip() if proof is not None and proof.how == "printed" else None
            asked = [
                item.id.partition(":")[2]
                for one in (made.rounds.values() if made else ())
                for item in one.items
                if item.place == name
            ]
            cards.append(Card(name, place.name, None if proof is None else proof.how, code, asked))
        with as_owner(html):
            replace_file(html, places_sheet(cards, file.site.name or file.site.id).encode())
    except (ConfigError, OSError) as error:
        say(str(error), err=True)
        return CANNOT
    return 0
