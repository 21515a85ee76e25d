"""Keys and signed commands: what a cloud does, on a technician's desk."""

import os
from pathlib import Path

import click

from gateway.cli.group import CANNOT, commands, say, say_lines


@commands.group()
def token() -> None:
    r"""Make a key pair for commands, and sign a command with it, for testing.

    \b
    Example: site-gateway token keygen --out keys
    Example: site-gateway token sign --key keys/commands.key.pem --kid cloud-2026 --cmd gate.open
                 --aud /sites/xima-xincun/gateways/xmxc-01 --args '{"gate": "north-in", "reason": "test"}'
    """


@token.command()
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder for both files.")
@click.option("--name", default="commands", show_default=True, help="NAME.key.pem (secret) and NAME.pub.pem.")
def keygen(out: Path, name: str) -> int:
    r"""Make an Ed25519 key pair; files that are there already are not touched.

    NAME.pub.pem belongs in the site file (`commands.keys`), NAME.key.pem to whoever sends commands and nowhere else.

    \b
    Example: site-gateway token keygen --out keys
    """
    from simulators.signing import make_keys

    secret, public = make_keys()
    try:
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_new(out / f"{name}.key.pem", secret, 0o600)
        _write_new(out / f"{name}.pub.pem", public, 0o644)
    except OSError as error:
        say(f"{error.filename}: {error.strerror}", err=True)
        return CANNOT
    return 0


@token.command()
@click.option("--key", required=True, type=click.Path(path_type=Path), help="The secret key, a PEM file.")
@click.option("--kid", required=True, metavar="ID", help="The key's id in the site file.")
@click.option("--aud", required=True, metavar="SOURCE", help="/sites/SITE/gateways/GATEWAY")
@click.option("--cmd", required=True, help="The command, such as gate.open.")
@click.option("--args", "arguments", default="{}", metavar="JSON", help="Its arguments, a JSON object.")
@click.option("--sub", default="technician", show_default=True, metavar="WHO", help="In whose name.")
@click.option("--iss", default="site-gateway token", show_default=True, metavar="WHO", help="Who asks.")
@click.option("--for", "life", default="60s", show_default=True, metavar="DURATION", help="How long it is good.")
@click.option("--nonce", help="`data.nonce` of the retained status, while the gateway's clock is not synced.")
@click.option("--jti", help="The id of the command; a new one unless given.")
def sign(  # noqa: PLR0913 - the claims of the contract
    *,
    key: Path,
    kid: str,
    aud: str,
    cmd: str,
    arguments: str,
    sub: str,
    iss: str,
    life: str,
    nonce: str | None,
    jti: str | None,
) -> int:
    r"""Print a signed command, to be published on T/command at QoS 1, not retained.

    \b
    Example: site-gateway token sign --key keys/commands.key.pem --kid cloud-2026 --cmd gate.open
                 --aud /sites/xima-xincun/gateways/xmxc-01 --args '{"gate": "north-in"}'
    """
    import orjson

    from gateway.arguments import duration
    from gateway.errors import ConfigError
    from simulators.signing import Signer, read_secret_key

    try:
        lasts = duration(life)
    except ValueError as error:
        raise click.BadParameter(f"{life!r}: {error}", param_hint="--for") from error
    try:
        args = orjson.loads(arguments)
    except orjson.JSONDecodeError as error:
        raise click.BadParameter(f"no JSON: {error}", param_hint="--args") from error
    if not isinstance(args, dict):
        raise click.BadParameter("a JSON object", param_hint="--args")
    try:
        signer = Signer(read_secret_key(key), kid, aud, iss, sub)
    except ConfigError as error:
        say_lines(str(error), err=True)
        return CANNOT
    named = {} if jti is None else {"jti": jti}
    say(signer.sign(signer.claims(cmd, args, life=lasts, nonce=nonce, **named)))
    return 0


def _write_new(path: Path, content: bytes, mode: int) -> None:
    """Raises FileExistsError, OSError."""
    from gateway.safe_write import as_owner

    with (
        as_owner(path),
        os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as stream,
    ):
        stream.write(content)
    say(str(path))
