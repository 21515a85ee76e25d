"""What people on site do at the gateway, in their own name."""

from pathlib import Path
from typing import Any

import click

from gateway.cli import completion
from gateway.cli.group import CANNOT, asking, commands, load_good, print_json, say
from gateway.kinds import ROLES

_PATIENCE_S = 65.0
"""Seconds: a reset waits for its device."""
_LARGEST_PHOTO_BYTES = 96 << 10


@commands.command()
@click.argument(
    "site", type=click.Path(path_type=Path), metavar="SITE.yaml", required=False, shell_complete=completion.site_files
)
@click.argument("command", metavar="[COMMAND]", required=False, shell_complete=completion.commands)
@click.argument("arguments", nargs=-1, metavar="[KEY=VALUE]...", shell_complete=completion.arguments)
@click.option("--by", metavar="NAME", help="Who asks: it stands in the audit, beside the account.")
@click.option("--role", type=click.Choice(ROLES), default="guard", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the whole reply.")
def do(
    site: Path | None, command: str | None, arguments: tuple[str, ...], *, by: str | None, role: str, as_json: bool
) -> int:
    r"""Do something at the site through the running daemon, as a person who is there.

    Open, hold and release gates, also those held after a fire; acknowledge, verify, reset and shelve alarms; confirm a
    fire, silence the sounder. A technician also disables devices and tests zones. Without COMMAND: the list of all,
    with their arguments. Exit status: 0 done, 2 refused, 3 no daemon runs.

    \b
    Example: site-gateway do site.yaml gate.release gate=north-in reason='fire is out' --by zhang
    Example: site-gateway do site.yaml zone.test zone=building-3 for=30m --by li --role technician
    Example: site-gateway do site.yaml inspection.answer run=ID item=person:… ok=true photo=pump.jpg --by li
    """
    from gateway.commands import OFFERED, usage

    if site is None or command is None:
        for name in OFFERED:
            say(usage(name))
        return 0
    if by is None:
        raise click.UsageError(f"--by NAME is missing: who asks for it. {_hint(command)}")
    from gateway.local.control import Daemon

    request: dict[str, Any] = {"ask": "do", "cmd": command, "args": _read(arguments), "by": by, "role": role}
    _, file = load_good(site)
    with asking():
        reply: Any = Daemon(file.store.path).ask(request, _PATIENCE_S)
    if as_json:
        print_json(reply)
    elif not reply["ok"]:
        say(f"{command}: {reply['error']['code']}: {reply['error']['message']}", err=True)
        if reply["error"]["code"] in ("bad-args", "unknown"):
            say(_hint(command), err=True)
    else:
        result = reply["result"] if isinstance(reply["result"], dict) else {}
        say(" ".join(["done", *(f"{key}={_word(value)}" for key, value in result.items())]))
    return 0 if reply["ok"] else CANNOT


def _hint(command: str) -> str:
    from gateway.commands import COMMANDS, usage

    return f"It is: {usage(command)}" if command in COMMANDS else "site-gateway do prints all commands"


def _read(arguments: tuple[str, ...]) -> dict[str, Any]:
    """`key=value` each; a value that is JSON (true, 3, "3") is taken as that, everything else as text.

    `photo=FILE` is the file's bytes in base64.
    """
    import orjson

    args: dict[str, Any] = {}
    for one in arguments:
        key, sign, text = one.partition("=")
        if not sign or not key:
            raise click.BadParameter(f"found {one!r}; KEY=VALUE, such as gate=north-in", param_hint="KEY=VALUE")
        if key in args:
            raise click.BadParameter(f"found {key!r} twice", param_hint="KEY=VALUE")
        if key == "photo":
            args[key] = _photo(Path(text))
            continue
        try:
            args[key] = orjson.loads(text)
        except orjson.JSONDecodeError:
            args[key] = text
    return args


def _photo(file: Path) -> str:
    import base64

    try:
        with file.open("rb") as stream:
            data = stream.read(_LARGEST_PHOTO_BYTES + 1)
    except OSError as error:
        raise click.BadParameter(str(error), param_hint="photo") from error
    if len(data) > _LARGEST_PHOTO_BYTES:
        raise click.BadParameter(f"{file}: over 96 KiB; make it smaller", param_hint="photo")
    return base64.b64encode(data).decode()


def _word(value: object) -> str:
    import orjson

    return value if isinstance(value, str) else orjson.dumps(value).decode()
