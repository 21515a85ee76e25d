"""Logs: one event is one line on stderr, as JSON, for the journal or for a terminal.

* under systemd (stderr is the journal, see JOURNAL_STREAM in systemd.exec(5)): `<N>` with the priority of
  sd-daemon(3) before each line, no time, no colour;
* on a terminal: readable text with the time, coloured unless NO_COLOR is set;
* else: JSON lines.

Messages of libraries to `logging` are shown the same way, from WARNING up, at most a few lines a minute. Flapping (a
camera, a line, the link) is logged a few times, then twice a minute with the number of suppressed lines. Secrets and
plates are masked, control characters escaped, and every length is limited. The only importer of structlog.
"""

import json
import logging
import math
import os
import re
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, MutableMapping
from datetime import UTC, datetime
from enum import Enum
from itertools import islice
from typing import Any, TextIO, cast

from gateway.masks import masked, without_plates
from gateway.printable import harmless, harmless_json

# structlog loads rich, where it is installed, for tracebacks that are not drawn here: 5 MiB and half of its
# import time. Hidden for that moment only; whoever draws with rich imports it as ever.
_hide = "rich" not in sys.modules
if _hide:
    sys.modules["rich"] = cast("Any", None)
try:
    import structlog
finally:
    if _hide:
        del sys.modules["rich"]

Logger = structlog.typing.FilteringBoundLogger
_Event = MutableMapping[str, Any]
_Render = Callable[[_Event], str]

_PRIORITY = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
_COLOUR = {"debug": "2", "info": "32", "warning": "33", "error": "31", "critical": "1;31"}
_QUIET = {"pymodbus.logging": logging.CRITICAL}
"""Loggers that report every expected failure, which the line itself logs once."""

_SECRET = re.compile(r"password|passwd|secret|token|credential", re.IGNORECASE)
_PLATE = re.compile(r"(?<![a-z])(?:plate|licen[cs]e)", re.IGNORECASE)
_USERINFO = re.compile(r"://[^/\s@]+@")
_PARAMETER = re.compile(r"((?:password|passwd|secret|token)=)[^&\s'\"]+", re.IGNORECASE)
_FROM = "from"
"""The key of the logging module's name: a Python keyword, so that no event can have it as an argument."""
_MASK = "***"
_TEXT = 2_000
"""The longest value in characters."""
_TRACE = 20_000
"""The most characters of a traceback, counted from its end."""
_DEPTH = 4
_ITEMS = 50
_WHO = ("line", "device", "camera", "gate", "stream", "list", "address", "topic", "what", "id")
"""Facts that say what a line is about: the same text has a separate allowance for each of them."""
_BURST, _A_MINUTE = 10, 2
_ALLOWANCES = 512
"""The most texts with an allowance; the least recently used one is dropped."""


class Style(Enum):
    """The format of a line."""

    JOURNAL = "journal"
    TERMINAL = "terminal"
    JSON = "json"


def logger(name: str) -> Logger:
    """The log of one module.

    `name` is `__name__`. Use: `log.info("line is up", line="fire-loop", after_s=12)`, that is, what happened and its
    facts.
    """
    return cast("Logger", structlog.get_logger(**{_FROM: name}))


def configure(
    level: str = "info",
    stream: TextIO | None = None,
    style: Style | None = None,
    now: Callable[[], float] = time.monotonic,
) -> None:
    """Send everything from `level` up to `stream` (stderr), in the style that fits it. Once, at the start."""
    stream = stream or sys.stderr
    sink = _Sink(stream)
    render = _renderer(style or style_of(stream), colour=_wants_colour(stream))
    structlog.configure(
        processors=[
            _Measured(now),
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            _tamed,
            lambda _logger, _method, event: render(event),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: sink,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Libraries)]:
        root.removeHandler(handler)
    root.addHandler(_Libraries(render, sink))
    root.setLevel(logging.WARNING)
    for name, least in _QUIET.items():
        logging.getLogger(name).setLevel(least)


def style_of(stream: TextIO, environ: Mapping[str, str] = os.environ) -> Style:
    """The style for this stream."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return Style.JSON
    if environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}":
        return Style.JOURNAL
    return Style.TERMINAL if stream.isatty() else Style.JSON


class Allowance:
    """Allows a number of lines at once and then per minute; counts refused ones. The time is an argument (seconds)."""

    def __init__(self, burst: int, per_minute: float) -> None:
        self._burst = burst
        self._rate = per_minute / 60.0
        self._left = float(burst)
        self._at: float | None = None
        self._refused = 0

    def take(self, now: float) -> int | None:
        """Ask for a line. None: refused; otherwise the number refused since the last allowed one."""
        if self._at is not None:
            self._left = min(float(self._burst), self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1.0:
            self._refused += 1
            return None
        self._left -= 1.0
        refused, self._refused = self._refused, 0
        return refused


class _Measured:
    """Limits repeats of the same event about the same thing, so that logging code can ignore flapping."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._allowances: OrderedDict[tuple[object, ...], Allowance] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, _logger: object, _method: str, event: _Event) -> _Event:
        """Raise DropEvent if the event is over its allowance."""
        who = (event.get(_FROM), event.get("event"), *(str(event[name]) for name in _WHO if name in event))
        with self._lock:
            allowance = self._allowances.pop(who, None) or Allowance(_BURST, _A_MINUTE)
            self._allowances[who] = allowance
            if len(self._allowances) > _ALLOWANCES:
                self._allowances.popitem(last=False)
            refused = allowance.take(self._now())
        if refused is None:
            raise structlog.DropEvent
        if refused:
            event["not_shown"] = refused
        return event


class _Sink:
    """The output of lines. A failing output is ignored."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def write(self, line: str) -> None:
        try:
            with self._lock:
                self._stream.write(line + "\n")
                self._stream.flush()
        except (OSError, ValueError):
            pass

    debug = info = warning = error = critical = write


class _Libraries(logging.Handler):
    """Messages of libraries through `logging`, with an allowance for each library."""

    def __init__(self, render: _Render, sink: _Sink) -> None:
        super().__init__(logging.WARNING)
        self._render = render
        self._sink = sink
        self._allowances: dict[str, Allowance] = {}

    def emit(self, record: logging.LogRecord) -> None:
        package = record.name.partition(".")[0]
        refused = self._allowances.setdefault(package, Allowance(burst=10, per_minute=10)).take(time.monotonic())
        if refused is None:
            return
        try:
            text = record.getMessage()
        except (TypeError, ValueError):
            text = str(record.msg)
        event: _Event = {"event": text, "level": record.levelname.lower(), _FROM: record.name}
        if refused:
            event["not_shown"] = refused
        if record.exc_info:
            event["exc_info"] = record.exc_info
            event = structlog.processors.format_exc_info(None, "", event)
        self._sink.write(self._render(_tamed(None, "", event)))


def _renderer(style: Style, *, colour: bool) -> _Render:
    if style is Style.JOURNAL:
        return _journal
    if style is Style.JSON:
        return _json
    return lambda event: _terminal(event, colour=colour)


def _wants_colour(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR")


def _journal(event: _Event) -> str:
    prefix = f"<{_PRIORITY.get(event.pop('level', 'info'), 6)}>"
    trace = event.pop("exception", "").splitlines()
    return "\n".join(prefix + line for line in (_text(event), *map(harmless, trace)))


def _terminal(event: _Event, *, colour: bool) -> str:
    level = event.pop("level", "info")
    trace = event.pop("exception", "").splitlines()
    mark = f"{level:<8}"
    if colour:
        mark = f"\x1b[{_COLOUR.get(level, '0')}m{mark}\x1b[0m"
    at = datetime.now(UTC).astimezone()
    return "\n".join((f"{at:%H:%M:%S}.{at.microsecond // 1000:03} {mark} {_text(event)}", *map(harmless, trace)))


def _json(event: _Event) -> str:
    head = {"time": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")}
    return harmless_json(json.dumps(head | dict(event), ensure_ascii=False))


def _text(event: _Event) -> str:
    """`what happened key=value key=value [logger]`, on one line."""
    parts = [harmless(str(event.pop("event", "")))]
    name = event.pop(_FROM, None)
    parts.extend(f"{harmless(key)}={_shown(value)}" for key, value in event.items())
    if name:
        parts.append(f"[{name}]")
    return " ".join(parts)


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if isinstance(value, str) and (not text or any(sign in text for sign in ' ="')):
        text = json.dumps(text, ensure_ascii=False)
    return harmless(text)


def _tamed(_logger: object, _method: str, event: _Event) -> _Event:
    """Reduce an event to JSON values of limited length, without secrets."""
    return {key: _masked(value, _TRACE) if key == "exception" else _tame(key, value) for key, value in event.items()}


def _tame(key: object, value: object, depth: int = _DEPTH) -> object:
    if value is None or isinstance(value, bool):
        return value
    if _SECRET.search(str(key)):
        return _MASK
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        return _opened(key, value, depth - 1) if depth else "…"
    if _PLATE.search(str(key)):
        return masked(_masked(str(value)))
    return _hex(bytes(value)) if isinstance(value, bytes | bytearray) else _masked(str(value))


def _hex(data: bytes) -> str:
    """Bytes in hex for people to compare, unless a plate can be read in them."""
    text = data.decode("utf-8", "replace")
    return data[: _TEXT // 2].hex() if without_plates(text) == text else f"({len(data)} bytes)"


def _opened(key: object, value: Mapping[Any, Any] | Collection[Any], depth: int) -> object:
    if isinstance(value, Mapping):
        return {
            without_plates(str(name)[:_TEXT]): _tame(name, item, depth) for name, item in islice(value.items(), _ITEMS)
        }
    return [_tame(key, item, depth) for item in islice(value, _ITEMS)]


def _masked(text: str, room: int | None = None) -> str:
    text = text[:_TEXT] if room is None else text[-room:]
    if "://" in text:
        text = _USERINFO.sub(f"://{_MASK}@", text)
    if "=" in text:
        text = _PARAMETER.sub(rf"\g<1>{_MASK}", text)
    return without_plates(text)
