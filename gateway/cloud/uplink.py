"""The uplink: events to the broker over MQTT, as the delivery page says.

One supervised task holds one connection after the other and looks at the time once a second; all sending
is done in callbacks of the loop (a row is ready, a PUBACK came), so a message costs no task and no timer.
What goes next is decided in `sending`, when to try again in `reconnection`, MQTT itself is in `session`.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from gateway.clock import Clock
from gateway.cloud.events import SYNCED, UNSYNCED, encode, envelope, event_id, timestamp, type_name
from gateway.cloud.lane import HASTY, REFUSED
from gateway.cloud.link import Broker, Delivery, Ending, Events, Terms
from gateway.cloud.outbox import Outbox, Row
from gateway.cloud.reconnection import Reconnection
from gateway.cloud.retained import Slot, active_data
from gateway.cloud.sending import Again, Limits, Message, Sending
from gateway.cloud.session import Session, overhead
from gateway.log import logger
from gateway.model import Instant, Json, Stream

_log = logger(__name__)
_BEAT = 1.0
_NONCE_EVERY = 60.0
_NONCE_BYTES = 16
_ACTIVE_EVERY = 1.0
_AT_ONCE = 0.1


@dataclass(frozen=True, slots=True)
class Settings:
    """Where to send and as whom."""

    broker: Broker
    root: str
    """`T`: what every topic begins with."""
    source: str
    """The CloudEvents source of this gateway."""
    boot: str
    version: str
    simulated: bool = False
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Callbacks:
    """What the uplink tells; all on the loop's thread, and they must not wait."""

    on_command: Callable[[str, bytes, Delivery], None]
    """Topic, payload (empty if larger than a command may be: see `Delivery.size`) and what came along."""
    on_refused: Callable[[Stream, int | None], None]
    """A stream stands still because of this reason code (0x87, 0x90, 0x99); None: it flows again."""
    on_unheard: Callable[[Row], None]
    """The broker took the row, but nobody is subscribed (0x10)."""
    on_link: Callable[[bool, str], None]
    """Connected, or lost and why."""
    on_heard: Callable[[Row], None] = lambda _row: None
    """The broker took the row, and did not say that nobody is subscribed."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of the uplink for health and metrics. Times in seconds, `since` monotonic."""

    connected: bool
    since: float
    reconnects: int
    in_flight: int
    error: str | None
    """Why the last connection or attempt ended."""
    latency_p50: float | None
    latency_p99: float | None
    """Publish to PUBACK, over the last 512."""
    accepted: int
    no_listener: int
    replies_lost: int
    refused: Mapping[str, int] = field(default_factory=dict)
    """Streams that stand still, with the reason code."""


class Uplink:
    """The way to the broker. Every method belongs on the loop's thread."""

    def __init__(
        self, settings: Settings, outbox: Outbox, clock: Clock, random: Callable[[int], bytes], callbacks: Callbacks
    ) -> None:
        self.beat = 0.0
        """Monotonic time at which `run` was last seen alive; at least once a second."""
        self._settings = settings
        self._outbox = outbox
        self._clock = clock
        self._random = random
        self._callbacks = callbacks
        root = settings.root
        self._active = Slot(f"{root}/alarm/active", every=_ACTIVE_EVERY)
        self._status = Slot(f"{root}/status")
        self._health = Slot(f"{root}/health")
        self._sending = Sending(
            outbox,
            root,
            (self._active, self._status, self._health),
            limits=settings.limits,
            overhead=overhead,
            chance=self._chance,
            tell_refused=callbacks.on_refused,
            tell_unheard=callbacks.on_unheard,
        )
        self._sending.tell_heard = callbacks.on_heard
        self._reconnection = Reconnection(self._chance)
        self._session: Session | None = None
        self._retains = True
        self._live = False
        self._subscribed = False
        self._scheduled = False
        self._leaving = False
        self._later: asyncio.TimerHandle | None = None
        self._news = asyncio.Event()
        self._nonces: tuple[str, ...] = ()
        self._nonce_at = float("-inf")
        self._since = 0.0
        self._connections = 0
        self._error: str | None = None

    async def run(self) -> None:
        """Keep the connection until cancelled (or until `farewell`); raises only for a fault of the program."""
        self._outbox.on_ready = self.wake
        self._since = self._clock.now().mono
        try:
            while not self._leaving:
                await self._pause(await self._connect_once())
        finally:
            self._live = False
            if self._later is not None:
                self._later.cancel()
            if self._session is not None:
                self._session.abort("stopped")

    def wake(self) -> None:
        """The outbox may have more to give."""
        self._sending.woken()
        if self._live:
            self._schedule()
        elif not self._news.is_set() and self._outbox.waiting(Stream.ALARM):
            self._news.set()

    def set_standing(self, alarms: Mapping[str, Mapping[str, Json]], upto: int) -> None:
        """The alarms that stand after a commit, by their id, and the sequence of the last alarm event in them.

        To be called before `run` too: until then nothing is said of them. The alarms' data must not be
        changed afterwards.
        """
        standing, at = tuple(alarms.values()), self._clock.now()
        self._active.put(lambda limit: self._event("alarm.active", active_data(standing, upto, limit), at))
        self._schedule()
        due = self._active.due()
        if self._live and due is not None and due > at.mono and self._later is None:
            self._later = asyncio.get_running_loop().call_later(due - at.mono, self._tell_active)

    def set_health(self, data: Mapping[str, Json]) -> None:
        """The health as of now; the data must not be changed afterwards."""
        at = self._clock.now()
        self._health.put(lambda _limit: self._event("gateway.health", data, at))
        self._schedule()

    def reply(self, topic: str, payload: bytes, correlation: bytes | None = None) -> None:
        """Send a reply, before every stream; kept over a lost connection, but not over a restart."""
        self._sending.reply(topic, payload, correlation)
        self._schedule()

    def replay_from(self, source: Callable[[], Again | None]) -> None:
        """Where replayed events come from; asked when nothing else is to be sent. Then `wake` when there are some."""
        self._sending.source = source

    @property
    def connected(self) -> bool:
        """The broker has accepted us."""
        return self._live

    def nonces(self) -> tuple[str, ...]:
        """The nonces that a command may name: the present one and the one before."""
        return self._nonces

    async def farewell(self, timeout: float) -> None:
        """Await what is in flight, say `online: false`, disconnect cleanly; within `timeout` seconds. Ends `run`."""
        self._leaving = True
        self._news.set()
        session = self._session
        if session is None:
            return
        try:
            if self._live:
                with suppress(TimeoutError):
                    async with asyncio.timeout(timeout):
                        await self._take_leave(session, timeout)
        finally:
            session.abort("stopped")

    def snapshot(self) -> Snapshot:
        """How it stands."""
        latencies = sorted(self._sending.latencies)
        counts = self._sending.counts
        return Snapshot(
            connected=self._live,
            since=self._since,
            reconnects=max(0, self._connections - 1),
            in_flight=self._sending.in_flight,
            error=self._error,
            latency_p50=latencies[len(latencies) // 2] if latencies else None,
            latency_p99=latencies[len(latencies) * 99 // 100] if latencies else None,
            accepted=counts.accepted,
            no_listener=counts.no_listener,
            replies_lost=counts.replies_lost,
            refused={lane.stream.value: lane.code for lane in self._sending.lanes if lane.code is not None},
        )

    # ---- one connection

    async def _connect_once(self) -> Ending:
        will = self._event("gateway.status", self._status_data(nonce=None, online=False), None)
        events = Events(self._acknowledged, self._got_subscribed, self._callbacks.on_command)
        session = self._session = Session(self._settings.broker, (self._status.topic, will), events)
        opened = session.open()
        while not (opened.done() or session.ended.done()):
            self._live_on()
            await asyncio.wait((opened, session.ended), timeout=_BEAT, return_when=asyncio.FIRST_COMPLETED)
        if not session.ended.done():
            self._up(session, opened.result())
            await self._hold(session)
        ending = session.ended.result()
        self._down(ending)
        return ending

    def _up(self, session: Session, terms: Terms) -> None:
        now = self._clock.now().mono
        self._connections += 1
        self._retains = terms.retain
        self._status.clear()
        self._sending.connected(terms.receive_maximum, terms.packet_limit)
        self._reconnection.connected(now)
        _log.info("uplink.connected", after_s=round(now - self._since, 1), attempt=self._connections)
        self._live, self._since, self._error = True, now, None
        self._pump()
        session.subscribe(f"{self._settings.root}/command")
        self._callbacks.on_link(True, "")

    async def _hold(self, session: Session) -> None:
        while not session.ended.done():
            now = self._live_on()
            due = self._sending.due(now)
            left = _BEAT if due is None else min(_BEAT, due - now)
            await asyncio.wait((session.ended,), timeout=left)
            session.check()
            dead_at = self._sending.dead_at()
            if dead_at is not None and self._clock.now().mono >= dead_at:
                session.abort("the broker acknowledges nothing")
            elif not session.ended.done():
                self._pump()

    def _down(self, ending: Ending) -> None:
        now = self._clock.now()
        lived = now.mono - self._since if self._live else 0.0
        text = "waiting for time" if ending.early and not now.synced else ending.text
        if self._live:
            if self._leaving:
                _log.info("uplink.closed", up_s=round(now.mono - self._since, 1))
            else:
                _log.warning("uplink.lost", why=text, up_s=round(now.mono - self._since, 1))
            self._live, self._since = False, now.mono
        elif text != self._error and not self._leaving:
            _log.warning("uplink.unreachable", why=text)
        if text != self._error:
            self._error = text
            self._callbacks.on_link(False, text)
        self._subscribed = False
        self._sending.disconnected(now.mono, lived, hung_up=ending.hung_up)
        self._reconnection.failed(now.mono, refused=ending.refused)

    async def _pause(self, ending: Ending) -> None:
        begun = self._clock.now().mono
        alarms = self._outbox.waiting(Stream.ALARM)
        while not self._leaving:
            waiting = self._outbox.waiting
            wait = self._reconnection.wait(urgent=any(waiting(stream) for stream in HASTY))
            if waiting(Stream.ALARM) > alarms and not ending.refused:
                wait = min(wait, _AT_ONCE)
            left = begun + wait - self._live_on()
            if left <= 0:
                return
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, _BEAT)):
                    await self._news.wait()

    async def _take_leave(self, session: Session, timeout: float) -> None:
        self._sending.drain()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout / 2):
                await self._all_answered()
        now = self._clock.now()
        payload = self._event("gateway.status", self._status_data(nonce=None, online=False), now)
        mid = session.publish(self._status.topic, payload, retain=self._retains)
        if mid is not None:
            self._sending.sent(mid, Message(self._status.topic, payload, slot=self._status), now.mono)
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout / 4):
                    await self._all_answered()
            session.close()
            await asyncio.wait((session.ended,), timeout=timeout / 4)

    async def _all_answered(self) -> None:
        while self._sending.in_flight and self._live:
            self._news.clear()
            await self._news.wait()

    # ---- callbacks of the session

    def _acknowledged(self, acks: list[tuple[int, int]]) -> None:
        now = self._clock.now().mono
        for mid, code in acks:
            self._sending.answered(mid, code, now)
        if self._leaving:
            self._news.set()
        self._pump()

    def _got_subscribed(self, code: int) -> None:
        if code >= REFUSED:
            self._error = f"the broker refuses the subscription to commands: 0x{code:02x}"
            _log.error("uplink.no-commands", code=code)
        self._subscribed = True
        self._tell_online()
        self._pump()

    # ---- sending

    def _schedule(self) -> None:
        if self._live and not self._scheduled and self._session is not None:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._session.guarded, self._pump)

    def _tell_active(self) -> None:
        self._later = None
        self._schedule()

    def _pump(self) -> None:
        self._scheduled = False
        session = self._session
        if not self._live or session is None:
            return
        now = self._clock.now().mono
        while message := self._sending.take(now):
            mid = session.publish(
                message.topic,
                message.payload,
                retain=message.retain and self._retains,
                correlation=message.correlation,
                again=message.again,
            )
            if mid is None:
                self._sending.unsent(message)
                return
            self._sending.sent(mid, message, now)

    def _live_on(self) -> float:
        """The heartbeat of `run`: note that it is alive, renew the nonce."""
        now = self._clock.now().mono
        self.beat = now
        if now - self._nonce_at >= _NONCE_EVERY:
            self._nonce_at = now
            self._nonces = (self._random(_NONCE_BYTES).hex(), *self._nonces[:1])
            self._tell_online()
        return now

    def _tell_online(self) -> None:
        if self._subscribed and not self._leaving:
            at, data = self._clock.now(), self._status_data(self._nonces[0], online=True)
            self._status.put(lambda _limit: self._event("gateway.status", data, at))

    def _status_data(self, nonce: str | None, *, online: bool) -> bytes:
        return encode({"online": online, "nonce": nonce, "version": self._settings.version})

    def _event(self, name: str, data: Mapping[str, Json] | bytes, at: Instant | None) -> bytes:
        """A retained CloudEvent; the Will has no `time`: who knows when it will be true."""
        now = self._clock.now() if at is None else at
        return envelope(
            id_=event_id(now.wall, int.from_bytes(self._random(10), "big")),
            source=self._settings.source,
            type_=type_name(name),
            subject=None,
            time=None if at is None else timestamp(at.wall),
            clock=SYNCED if now.synced else UNSYNCED,
            boot=self._settings.boot,
            data=data,
            simulated=self._settings.simulated,
        )

    def _chance(self) -> float:
        return int.from_bytes(self._random(4), "big") / (1 << 32)
