"""The local page: the handlers of its URLs. Its contract is docs/local-page.md.

It decides nothing: requests of people go into the inbox, under the name of their session.
"""

import asyncio
import gzip
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import orjson

from gateway.clock import Clock
from gateway.commands import COMMANDS
from gateway.contract.commands import fields
from gateway.errors import ConfigError, GatewayError, StoreError
from gateway.local import records
from gateway.local.files import Files, takes_gzip
from gateway.local.frames import LineFrames
from gateway.local.http import HttpAnswer, HttpRequest, Respond, Route, Streaming, StreamOut
from gateway.local.passwords import LONGEST, Busy, Passwords, TooEarly
from gateway.local.records import Records
from gateway.local.requests import People
from gateway.local.sessions import LIFE_S, Codes, PageSession, Sessions
from gateway.local.streams import Sources, Streams
from gateway.log import logger
from gateway.masks import shown
from gateway.model import HOUR_S, Json, Stream, rfc3339
from gateway.settings.types import PageFacts

_log = logger(__name__)

MAX_DO_BYTES = 256 << 10
_JSON = "application/json"
_COOKIE, _SECURE_COOKIE = "site-gateway", "__Host-site-gateway"
_MARK = "X-Site-Gateway"
_STATE_S = 0.25
"""A snapshot is made anew at most as often as readings are sent."""
_PRESSES = 256
"""How many recent `press` values are remembered."""
_MOST_HOURS = 168
_MOST_SECONDS = 60
BY_THE_PAGE_ITSELF = ("access.viewed", "page.code")
"""Commands that only record in the audit what somebody did here; `/do` refuses them."""
_STREAMS = {one.value: one for one in (Stream.ALARM, Stream.ACCESS, Stream.INSPECTION, Stream.AUDIT)}


class PageRefusal(GatewayError):
    """A refusal of the request."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers or {}


@dataclass(frozen=True, slots=True)
class PagePeople:
    """Who may log in, and who is logged in."""

    passwords: Passwords
    sessions: Sessions
    codes: Codes
    has_users: bool
    read_only: bool
    """Off loopback without TLS: nobody can log in."""


@dataclass(frozen=True, slots=True)
class SiteAsks:
    """What the page asks of the gateway. `people`: takes requests of a person on site."""

    people: People
    frames: LineFrames
    sources: Sources
    facts: PageFacts
    clock: Clock


class Page:
    """Everything below `/`, except what is for machines."""

    def __init__(self, streams: Streams, people: PagePeople, kept: Records, files: Files, site: SiteAsks) -> None:
        self._streams = streams
        self._people = people
        self._records = kept
        self._files = files
        self._site = site
        self._state: tuple[float, bytes, bytes] = (float("-inf"), b"", b"")
        """The last snapshot: time, body, gzipped body."""
        self._making = asyncio.Lock()
        self._presses: deque[str] = deque(maxlen=_PRESSES)

    def routes(self) -> dict[str, Route]:
        """The routes by path."""
        rounds = {"/rounds": Route(get=self._answering(self._rounds), cost=10)} if self._site.facts.rounds else {}
        return rounds | {
            "/": Route(get=self._files.index),
            "/static/": Route(get=self._files.file),
            "/state": Route(get=self._answering(self._tell_state), cost=2),
            "/events": Route(get=self._answering(self._stream), cost=4),
            "/me": Route(get=self._answering(self._me)),
            "/login": Route(post=self._answering(self._log_in), cost=2),
            "/logout": Route(post=self._answering(self._log_out)),
            "/do": Route(post=self._answering(self._do), body=MAX_DO_BYTES, cost=2),
            "/history": Route(get=self._answering(self._history), cost=10),
            "/passages": Route(get=self._answering(self._passages), cost=10),
            "/pictures/": Route(get=self._answering(self._picture), cost=4),
            "/audit": Route(get=self._answering(self._audit), cost=10),
            "/frames": Route(get=self._answering(self._frames), cost=20),
            "/devices/": Route(get=self._answering(self._table)),
        }

    def is_known(self, address: str) -> bool:
        """True if somebody is logged in from there."""
        return not self._people.read_only and self._people.sessions.has_one_at(address)

    def person(self, request: HttpRequest) -> str | None:
        """The session of the request, if logged in."""
        session = self._session(request)
        return None if session is None else session.name

    def _answering(self, respond: Respond) -> Respond:
        async def answer(request: HttpRequest) -> HttpAnswer | Streaming:
            try:
                return await respond(request)
            except PageRefusal as no:
                return _json({"ok": False, "error": {"code": no.code, "message": str(no)}}, no.status, no.headers)
            except records.Wrong as wrong:
                return _json({"ok": False, "error": {"code": "bad-request", "message": str(wrong)}}, 400)
            except StoreError as error:
                headers = {"Retry-After": "5"}
                return _json({"ok": False, "error": {"code": "busy", "message": str(error)}}, 503, headers)

        return answer

    # ---- the state ----------------------------------------------------------------------------------

    async def _tell_state(self, request: HttpRequest) -> HttpAnswer:
        async with self._making:  # one request makes it, the others get the same
            now = self._site.clock.now().mono
            if now - self._state[0] >= _STATE_S:
                snapshot = self._streams.snapshot()
                told = {"n": snapshot.n, "seen": snapshot.seen, "time": snapshot.time, "state": snapshot.state}
                plain = orjson.dumps(told)
                self._state = (now, plain, b"")  # sent uncompressed to others if this one is cancelled
                self._state = (now, plain, await asyncio.to_thread(gzip.compress, plain, 6, mtime=0))
            _, plain, packed = self._state
        headers = {"Vary": "Accept-Encoding"}
        if packed and takes_gzip(request):
            return HttpAnswer(200, _JSON, packed, {**headers, "Content-Encoding": "gzip"})
        return HttpAnswer(200, _JSON, plain, headers)

    async def _stream(self, request: HttpRequest) -> Streaming:
        session = self._session(request)
        reader = self._streams.join(request.address, session)
        if reader is None:
            raise PageRefusal(503, "busy", "no stream is free", {"Retry-After": "5"})
        packed = takes_gzip(request)
        last = request.headers.get("Last-Event-ID") or request.query.get("from")

        async def run(out: StreamOut) -> None:
            await self._streams.serve(reader, last, out, packed=packed)

        headers = {"Content-Encoding": "gzip"} if packed else {}
        return Streaming("text/event-stream", run, lambda: self._streams.leave(reader), headers)

    # ---- who it is ----------------------------------------------------------------------------------

    def _session(self, request: HttpRequest) -> PageSession | None:
        return None if self._people.read_only else self._people.sessions.find(_token(request), request.address)

    def _logged_in(self, request: HttpRequest) -> PageSession:
        session = self._session(request)
        if session is None:
            raise PageRefusal(401, "not-logged-in", "log in first")
        return session

    async def _me(self, request: HttpRequest) -> HttpAnswer:
        return self._told_me(self._session(request))

    def _told_me(self, session: PageSession | None, headers: Mapping[str, str] | None = None) -> HttpAnswer:
        told: dict[str, Json] = {"read_only": self._people.read_only, "users": self._people.has_users}
        if session is not None:
            now = self._site.clock.now()
            told |= {
                "name": session.name,
                "role": session.role,
                "until": rfc3339(now.wall + session.ends - now.mono),
                "commands": _commands(session.role),
            }
        return _json(told, 200, headers)

    async def _log_in(self, request: HttpRequest) -> HttpAnswer:
        asked = _asked(request)
        if self._people.read_only:
            raise PageRefusal(403, "read-only", "this listener is off loopback and has no TLS")
        code, account = asked.get("code"), ""
        try:
            if code is not None:
                (name, account), role = self._by_code(code), "technician"
            else:
                name, role = await self._by_password(asked, request.address)
        except TooEarly as early:
            wait = str(max(1, round(early.seconds + 0.5)))
            raise PageRefusal(429, "wait", f"the next try in {wait} s", {"Retry-After": wait}) from early
        except Busy as busy:
            raise PageRefusal(503, "busy", str(busy), {"Retry-After": "1"}) from busy
        if code is not None:
            await self._audit_code(name, account)
        self._people.sessions.close(_token(request))
        mark = self._people.passwords.mark(name) if code is None else ""
        by_code = code is not None
        token, session = self._people.sessions.open(name, role, by_code=by_code, account=account, mark=mark)
        session.address = request.address
        await self._people.sessions.kept()
        return self._told_me(session, {"Set-Cookie": _cookie(request, token, LIFE_S)})

    async def _by_password(self, asked: Mapping[str, Any], address: str) -> tuple[str, str]:
        name, password = asked.get("name"), asked.get("password")
        if not (isinstance(name, str) and isinstance(password, str)) or max(len(name), len(password)) > LONGEST:
            raise PageRefusal(400, "bad-request", "name and password, or code")
        role = await self._people.passwords.role_of(name, password, address)
        if role is None:
            _wrong_login()
        return name, role

    async def _audit_code(self, name: str, account: str) -> None:
        """Record a login by code in the audit. If that fails, the technician is let in anyway."""
        told: dict[str, Json] = {
            "cmd": "page.code",
            "args": {},
            "by": name,
            "role": "technician",
            "account": f"code:{account}",
        }
        try:
            await self._site.people.ask(told)
        except ConfigError as error:
            _log.warning("a login by code stands in no audit", by=name, account=account, error=str(error))

    def _by_code(self, code: object) -> tuple[str, str]:
        """The name and maker of a code. A code has 256 bits, so failures need no delay."""
        if not isinstance(code, str) or len(code) > LONGEST:
            raise PageRefusal(400, "bad-request", "code")
        known = self._people.codes.use(code)
        if known is None:
            _wrong_login()
        return known

    async def _log_out(self, request: HttpRequest) -> HttpAnswer:
        _asked(request)
        self._people.sessions.close(_token(request))
        await self._people.sessions.kept()
        return self._told_me(None, {"Set-Cookie": _cookie(request, "", 0)})

    # ---- something is done --------------------------------------------------------------------------

    async def _do(self, request: HttpRequest) -> HttpAnswer:
        asked = _asked(request)
        session = self._logged_in(request)
        cmd, args = asked.get("cmd"), asked.get("args", {})
        if not isinstance(cmd, str) or not isinstance(args, dict):
            raise PageRefusal(400, "bad-request", "cmd: the name of a command; args: an object")
        if cmd in BY_THE_PAGE_ITSELF:
            message = "the page itself says what was looked at and who logged in"
            return _json({"ok": False, "cmd": cmd, "error": {"code": "not-allowed", "message": message}})
        if self._streams.is_stale(asked.get("seen")):
            raise PageRefusal(409, "stale", "what was seen is older than 15 s; nothing was done")
        self._pressed(asked.get("press"))
        reply = await self._person(session, cmd, args)
        answer = {"ok": reply.get("ok") is True, "cmd": cmd}
        key = "result" if answer["ok"] else "error"
        return _json({**answer, key: reply.get(key)})

    def _pressed(self, press: object) -> None:
        """Refuse a repeated `press`, because a browser itself repeats a request when its connection breaks."""
        if press is None:
            return
        if not isinstance(press, str) or not 0 < len(press) <= LONGEST:
            raise PageRefusal(400, "bad-request", f"press: 1-{LONGEST} characters")
        if press in self._presses:
            raise PageRefusal(409, "repeated", "this press has come before; nothing was done")
        self._presses.append(press)

    async def _person(self, session: PageSession, cmd: str, args: Mapping[str, Json]) -> Mapping[str, Json]:
        account = f"code:{session.account}" if session.by_code else f"page:{session.name}"
        try:
            reply = await self._site.people.ask(
                {"cmd": cmd, "args": args, "by": session.name, "role": session.role, "account": account}
            )
        except ConfigError as error:
            raise PageRefusal(400, "bad-request", str(error)) from error
        return reply if isinstance(reply, Mapping) else {}

    async def _viewed(self, session: PageSession, what: str, **of: str | None) -> None:
        """Record in the audit who looks at a plate or picture, before showing it. Raises PageRefusal."""
        reply = await self._person(session, "access.viewed", {"what": what, **{k: v for k, v in of.items() if v}})
        if reply.get("ok") is not True:
            raise PageRefusal(503, "busy", "it could not be written that somebody looks", {"Retry-After": "5"})

    # ---- what is kept -------------------------------------------------------------------------------

    async def _history(self, request: HttpRequest) -> HttpAnswer:
        self._logged_in(request)
        if "point" in request.query:
            return await self._values(request)
        stream = _STREAMS.get(request.query.get("stream", "alarm"))
        if stream is None:
            raise records.Wrong(f"stream: {' | '.join(_STREAMS)}")
        page = await self._records.events(
            stream, _before(request), _limit(request, records.MOST_EVENTS), alarm=_text(request, "alarm")
        )
        return await _packed(request, {"events": page.events} | _next(page.next))

    async def _values(self, request: HttpRequest) -> HttpAnswer:
        device, dot, point = request.query["point"].partition(".")
        if not (device and dot and point):
            raise records.Wrong("point: DEVICE.POINT")
        hours = _whole(request, "hours", 24, _MOST_HOURS)
        told = await self._records.values(device, point, self._site.clock.now().wall - hours * HOUR_S)
        return await _packed(request, told)

    async def _passages(self, request: HttpRequest) -> HttpAnswer:
        session = self._logged_in(request)
        id_ = _text(request, "id")
        page = await self._records.passages(_before(request), _limit(request, records.MOST_PASSAGES), id_=id_)
        if id_ is not None and not page.events:
            raise PageRefusal(404, "unknown", "there is no such passage")
        await self._viewed(session, "plate", passage=id_)
        return await _packed(request, {"passages": page.events} | _next(page.next))

    async def _picture(self, request: HttpRequest) -> HttpAnswer:
        session = self._logged_in(request)
        id_ = request.path.removeprefix("/pictures/")
        found = await self._records.picture(id_) if 0 < len(id_) <= 64 else None
        if found is None:
            raise PageRefusal(404, "unknown", "there is no such picture")
        jpeg, passage = found
        await self._viewed(session, "picture", picture=id_, passage=passage)
        return HttpAnswer(200, "image/jpeg", jpeg)

    async def _audit(self, request: HttpRequest) -> HttpAnswer:
        self._logged_in(request)
        by, cmd = _text(request, "by"), _text(request, "cmd")
        if request.query.get("format") == "csv":
            rows = _limit(request, records.MOST_ROWS)
            table = await self._records.audit_table(_before(request), rows, by=by, cmd=cmd)
            headers = {"Content-Disposition": 'attachment; filename="audit.csv"'}
            return HttpAnswer(200, "text/csv; charset=utf-8", table, headers)
        limit = _limit(request, records.MOST_EVENTS)
        page = await self._records.audit(_before(request), limit, by=by, cmd=cmd)
        return await _packed(request, {"events": page.events} | _next(page.next))

    async def _rounds(self, request: HttpRequest) -> HttpAnswer:
        self._logged_in(request)
        page = await self._records.runs(_before(request), _limit(request, records.MOST_RUNS))
        now = self._site.sources.rounds()
        return await _packed(request, {"now": shown(now), "runs": page.events} | _next(page.next))

    async def _table(self, request: HttpRequest) -> HttpAnswer:
        self._logged_in(request)
        table = self._site.facts.tables.get(request.path.removeprefix("/devices/"))
        if table is None:
            raise PageRefusal(404, "unknown", "there is no such device")
        return _json(table)

    async def _frames(self, request: HttpRequest) -> HttpAnswer:
        self._logged_in(request)
        seconds = _whole(request, "seconds", 10, _MOST_SECONDS)
        try:
            told = await self._site.frames.told(request.query.get("line", ""), float(seconds))
        except ConfigError as error:
            raise PageRefusal(404, "unknown", str(error)) from error
        return await _packed(request, told)


def _commands(role: str) -> dict[str, Json]:
    """Command that this role may ask for -> schema of its arguments."""
    return {
        name: fields(one.arguments(on_site=True))
        for name, one in COMMANDS.items()
        if one.may_on_site(role) and name not in BY_THE_PAGE_ITSELF
    }


def _asked(request: HttpRequest) -> dict[str, Any]:
    """The JSON of a `POST` by our own page. Raises PageRefusal."""
    own = f"{'https' if request.is_secure else 'http'}://{request.host}"
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if request.headers.get(_MARK) != "1" or request.headers.get("Origin") != own or kind != _JSON:
        raise PageRefusal(403, "foreign", f"JSON with the header {_MARK}: 1, from this origin")
    try:
        asked = orjson.loads(request.body)
    except orjson.JSONDecodeError as error:
        raise PageRefusal(400, "bad-request", "no JSON") from error
    if not isinstance(asked, dict):
        raise PageRefusal(400, "bad-request", "an object")
    return asked


def _token(request: HttpRequest) -> str | None:
    return request.cookies.get(_SECURE_COOKIE if request.is_secure else _COOKIE)


def _cookie(request: HttpRequest, token: str, seconds: float) -> str:
    name = _SECURE_COOKIE if request.is_secure else _COOKIE
    secure = "; Secure" if request.is_secure else ""
    return f"{name}={token}; Path=/; Max-Age={seconds:.0f}; HttpOnly; SameSite=Strict{secure}"


def _wrong_login() -> NoReturn:
    raise PageRefusal(401, "wrong-login", "that is not right")


def _json(told: object, status: int = 200, headers: Mapping[str, str] | None = None) -> HttpAnswer:
    return HttpAnswer(status, _JSON, orjson.dumps(told), headers or {})


async def _packed(request: HttpRequest, told: object) -> HttpAnswer:
    """An answer that may be large, gzipped if the browser takes it."""
    body = orjson.dumps(told)
    if len(body) < 1024 or not takes_gzip(request):
        return HttpAnswer(200, _JSON, body)
    return HttpAnswer(
        200, _JSON, await asyncio.to_thread(gzip.compress, body, 6, mtime=0), {"Content-Encoding": "gzip"}
    )


def _next(place: str | None) -> dict[str, Json]:
    return {} if place is None else {"next": place}


def _before(request: HttpRequest) -> str | None:
    return _text(request, "before")


def _limit(request: HttpRequest, most: int) -> int:
    return _whole(request, "limit", most, most)


def _text(request: HttpRequest, name: str) -> str | None:
    text = request.query.get(name)
    if text is not None and not 0 < len(text) <= LONGEST:
        raise records.Wrong(f"{name}: 1-{LONGEST} characters")
    return text


def _whole(request: HttpRequest, name: str, default: int, most: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and 1 <= int(text) <= most):
        raise records.Wrong(f"{name}: 1-{most}")
    return int(text)
