"""Shows the running daemon: once, live, or the frames of a line."""

import select
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from gateway.config.site import SiteFile
from gateway.errors import GatewayError
from gateway.local.control import Daemon, ask
from gateway.local.trace import Piece, TracedExchange, exchanges, question, reply
from gateway.model import Json

_EVERY_S = 1.0
_FRAMES_EVERY_S = 0.2
_SETTLED_S = 2.0
"""A request is shown as unanswered after this time; no default time-out of a bus is longer."""

Where = Daemon | Path
"""The daemon of a store, or a socket path."""


def picture(where: Where) -> None:
    """Print the state once. Raises ConnectionError, GatewayError."""
    from gateway.technician.tables import watch_sheets
    from gateway.technician.terminal import show

    show(watch_sheets(state(where)))


def live(where: Where) -> None:
    """Draw the state every second until `q` is pressed. Raises ConnectionError when the daemon ends."""
    from gateway.technician.live import show_live
    from gateway.technician.tables import watch_sheets

    show_live(lambda: watch_sheets(state(where)), _EVERY_S)


def state(where: Where) -> Mapping[str, Any]:
    """The daemon's answer to `watch`."""
    return cast("Mapping[str, Any]", _ask(where, {"ask": "watch"}))


def measured_by_daemon(file: SiteFile) -> Mapping[str, float]:
    """The longest recent answer of each device of a running gateway, in seconds; empty if none runs."""
    try:
        told = state(Daemon(file.store.path))
    except (ConnectionError, GatewayError):
        return {}
    return {name: float(took) for name, took in told.get("longest_answers", {}).items() if name in file.devices}


def _ask(where: Where, request: Mapping[str, Json]) -> Json:
    return ask(where, request) if isinstance(where, Path) else where.ask(request)


def frames(where: Where, line: str, *, dump: bool) -> Iterator[str]:
    """Print the exchanges on a line: all that are remembered (`dump`), or new ones until interrupted."""
    remembered = heard(where, line)
    if dump:
        for exchange in remembered.exchanges:
            yield describe(exchange, remembered.offset)
        return
    shown = max((exchange.sent for exchange in remembered.exchanges), default=0.0)
    while True:
        _pause(_FRAMES_EVERY_S)
        now = heard(where, line, since=shown)
        for exchange in now.exchanges:
            if exchange.answer is None and now.mono - exchange.sent < _SETTLED_S:
                break  # its answer may still come
            yield describe(exchange, now.offset)
            shown = exchange.sent


class Heard:
    """The exchanges of a line, and the offset of their times to wall time."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        pieces: list[Piece] = [(way, at, bytes.fromhex(data)) for way, at, data in answer["pieces"]]
        self.mono: float = answer["now"]
        self.offset: float = answer["wall"] - answer["now"]
        self.exchanges = exchanges(pieces, bus=answer["bus"])


def heard(where: Where, line: str, since: float = 0.0) -> Heard:
    """The traffic of a line after `since` (monotonic seconds). Raises ConnectionError, GatewayError."""
    return Heard(cast("Mapping[str, Any]", _ask(where, {"ask": "frames", "line": line, "since": since})))


def describe(exchange: TracedExchange, offset: float) -> str:
    """Request and answer in two lines, or three with other received bytes."""
    at = datetime.fromtimestamp(exchange.sent + offset, UTC).astimezone().strftime("%H:%M:%S.%f")[:-3]
    lines = [f"{at} > unit {exchange.unit}  {question(exchange.pdu)}  [{exchange.request.hex(' ')}]"]
    raw = f"[{exchange.received.hex(' ')}]"
    indent = " " * (len(at) + 1)
    if exchange.answer is not None:
        took = f"{(exchange.seconds or 0.0) * 1000:.1f} ms"
        lines.append(
            f"{indent}< unit {exchange.unit}  {reply(exchange.pdu, exchange.answer.pdu)}  {took}  CRC ok  {raw}"
        )
        if exchange.glitch:
            lines.append(f"{indent}  noise before the answer: {exchange.glitch.hex(' ')}")
    elif exchange.verdict == "garbled":
        lines.append(f"{indent}< damaged  {raw}")
    else:
        lines.append(f"{indent}< no answer" + (f"  {raw}" if exchange.received else ""))
    lines += [f"{indent}  answer of unit {frame.unit}, too late" for frame in exchange.stray]
    if exchange.echoed:
        lines.append(f"{indent}  the adapter sent the request back (echo)")
    return "\n".join(lines)


def _pause(seconds: float) -> None:
    """Wait until the next look; ended by Ctrl-C."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        select.select([], [], [], left)
