"""Judges the claims of a command with a valid signature: who may ask for what, and until when. Pure.

A nonce is required only for commands that move something, and only while our clock is unsynced. A valid nonce proves
any command to be fresh while the clock is unsynced, or reads earlier than the newest time in the journal or than the
birth of the store. Without a nonce, commands are judged by the clock, never earlier than that newest time, so that what
has expired stays expired.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from gateway.commands import FROM_AFAR, CommandType
from gateway.model import LAST_WALL_S, Instant, Json

LEEWAY_S = 30.0
"""The tolerated difference between the clocks of sender and gateway."""
DEFAULT_ALLOW = frozenset(name for name, one in FROM_AFAR.items() if one.by_default)
"""What a key without `allow` may ask for."""

_JTI = 128
_PERSON = 200
_CMD = 64


class KeyFile(NamedTuple):
    """A key of the site file."""

    id: str
    path: Path
    allow: frozenset[str] | None
    """None: the default list."""


class Rejection(Exception):
    """The command is refused with this code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Said(NamedTuple):
    """What a payload says about itself, as far as it is printable text; trusted only if signed."""

    jti: str | None = None
    iss: str | None = None
    sub: str | None = None
    cmd: str | None = None


class Granted(NamedTuple):
    """The parts of a valid command."""

    jti: str
    iss: str
    sub: str
    cmd: str
    args: Mapping[str, Json]
    exp: float
    """Wall seconds until which it may be carried out, by our clock. If the clock is unsynced: arrival plus the life of
    the command; if `exp` has passed but is within the leeway: the end of the leeway."""
    signed_exp: float
    """`exp` as it was signed."""
    fresh: bool
    """A nonce of this process proves that it is not a recorded one."""


def said(claims: object) -> Said:
    """The reportable part of claims of any form; a `cmd` that is too long is cut and so matches no command."""
    if not isinstance(claims, dict):
        return Said()
    cmd = claims.get("cmd")
    if isinstance(cmd, str) and len(cmd) > _CMD:
        cmd = f"{cmd[: _CMD - 1]}…"
    return Said(
        _text_or_none(claims.get("jti"), _JTI),
        _text_or_none(claims.get("iss"), _PERSON),
        _text_or_none(claims.get("sub"), _PERSON),
        _text_or_none(cmd, _CMD),
    )


def judge(
    claims: Mapping[str, object],
    *,
    audience: str,
    allow: frozenset[str],
    now: Instant,
    nonces: Sequence[str],
    born: float,
    retained: bool,
    floor: float = 0.0,
) -> Granted:
    """The command in these claims, if it may be carried out now. Raises Rejection.

    `born`: wall time at which the store was made; commands carried out before it are not remembered.
    `floor`: the earliest possible wall time, whatever the clock shows.
    """
    if claims.get("aud") not in (audience, [audience]):  # RFC 7519, 4.1.3: one, or a list
        raise Rejection("wrong-audience", f"aud: this is {audience}")
    if retained:
        raise Rejection("retained", "commands are never retained")
    cmd = said(claims).cmd
    iat, exp = (_time(claims, name) for name in ("iat", "exp"))
    proven = _has_nonce(claims, nonces)
    wall = max(now.wall, floor)
    fresh = proven and (not now.synced or now.wall + LEEWAY_S < max(floor, born))
    declared = FROM_AFAR.get(cmd or "")
    if declared is not None and declared.moves and not now.synced and not fresh:
        raise Rejection("expired", "nonce: the clock here is not synced; `data.nonce` of the retained status is needed")
    _judge_times(claims, iat, exp, wall, fresh=fresh)
    # A signer may count in whole seconds (RFC 7519, 2): within the same second both times count as equal.
    if not fresh and iat < math.floor(born):
        raise Rejection("expired", "iat: before the store here was begun, which remembers what was carried out")
    if cmd is None:
        raise Rejection("bad-args", "cmd: the name of a command")
    if declared is None:
        raise Rejection("unknown", f"{cmd!r} is no command")
    if cmd not in allow:
        raise Rejection("not-allowed", f"{cmd} is not in the list of this key")
    life = exp - iat
    if life > declared.life_s:
        raise Rejection("bad-args", f"exp: {life:.0f} s after iat; {declared.life_s:.0f} s at most for {cmd}")
    args = _args(declared, claims.get("args", {}))
    names = said(claims)
    if names.jti is None or names.iss is None or names.sub is None:
        raise Rejection("bad-args", f"jti, iss, sub: text of 1-{_JTI}, 1-{_PERSON}, 1-{_PERSON} characters")
    left = (exp if exp > wall else exp + LEEWAY_S) - wall
    if fresh or not now.synced:
        left = life
    return Granted(names.jti, names.iss, names.sub, cmd, args, now.wall + left, exp, proven)


def _judge_times(claims: Mapping[str, object], iat: float, exp: float, wall: float, *, fresh: bool) -> None:
    if exp < iat:
        raise Rejection("expired", "exp: before iat")
    if fresh:
        return
    if wall > exp + LEEWAY_S:
        raise Rejection("expired", f"exp: {wall - exp:.0f} s ago")
    begins = max(iat, _time(claims, "nbf") if "nbf" in claims else iat)
    if wall < begins - LEEWAY_S:
        raise Rejection("expired", f"iat: not valid for another {begins - wall:.0f} s")


def _has_nonce(claims: Mapping[str, object], nonces: Sequence[str]) -> bool:
    nonce = claims.get("nonce")
    return isinstance(nonce, str) and nonce in nonces


def _time(claims: Mapping[str, object], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Rejection("bad-args", f"{name}: a time in seconds since 1970")
    if not 0 <= value <= LAST_WALL_S:
        raise Rejection("bad-args", f"{name}: a time in seconds between 1970 and 9999")
    return float(value)


def _args(declared: CommandType, args: object) -> Mapping[str, Json]:
    if not isinstance(args, dict):
        raise Rejection("bad-args", "args: a JSON object")
    args = declared.plain(args)
    try:
        declared.check(args)
    except ValueError as error:
        raise Rejection("bad-args", f"args.{error}") from error
    return args


def _text_or_none(value: object, longest: int) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= longest else None
