"""The running daemon, looked at: one picture, a live one, or the frames of a line."""

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
"""Seconds after which a request without an answer is shown as such: no time-out of a bus is longer by default."""

Where = Daemon | Path
"""The daemon of a store, or a socket."""


def picture(where: Where) -> None:
    """Print one picture. Raises ConnectionError, GatewayError."""
    from gateway.technician.tables import watch_sheets
    from gateway.technician.terminal import show

    show(watch_sheets(state(where)))


def live(where: Where) -> None:
    """Draw it every second until `q` is pressed. Raises ConnectionError when the daemon ends."""
    from gateway.technician.live import show_live
    from gateway.technician.tables import watch_sheets

    show_live(lambda: watch_sheets(state(where)), _EVERY_S)


def state(where: Where) -> Mapping[str, Any]:
    """What the daemon answers to `watch`."""
    return cast("Mapping[str, Any]", _ask(where, {"ask": "watch"}))


def measured_by_daemon(file: SiteFile) -> Mapping[str, float]:
    """The longest answer of late of each device that a running gateway asks, in seconds; nothing if none runs."""
    try:
        told = state(Daemon(file.store.path))
    except (ConnectionError, GatewayError):
        return {}
    return {name: float(took) for name, took in told.get("longest_answers", {}).items() if name in file.devices}


def _ask(where: Where, request: Mapping[str, Json]) -> Json:
    return ask(where, request) if isinstance(where, Path) else where.ask(request)


def frames(where: Where, line: str, *, dump: bool) -> Iterator[str]:
    """The conversation on a line: all that is remembered (`dump`), or what follows, until interrupted."""
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
                break  # its answer may be under way
            yield describe(exchange, now.offset)
            shown = exchange.sent


class Heard:
    """The conversation of a line, and how its times become wall time."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        pieces: list[Piece] = [(way, at, bytes.fromhex(data)) for way, at, data in answer["pieces"]]
        self.mono: float = answer["now"]
        self.offset: float = answer["wall"] - answer["now"]
        self.exchanges = exchanges(pieces, bus=answer["bus"])


def heard(where: Where, line: str, since: float = 0.0) -> Heard:
    """What went over a line after `since` (monotonic seconds). Raises ConnectionError, GatewayError."""
    return Heard(cast("Mapping[str, Any]", _ask(where, {"ask": "frames", "line": line, "since": since})))


def describe(exchange: TracedExchange, offset: float) -> str:
    """Request and answer in two lines, or three with what else was heard."""
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
    """Until it is time to look again; ended by Ctrl-C."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        select.select([], [], [], left)
