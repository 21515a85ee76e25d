"""The uplink: sends events to the broker over MQTT (page "Delivery").

One supervised task keeps the connection and checks the time once a second. Messages are sent when something happens
(rows are ready, a PUBACK came), so a message costs no task and no timer. `send_order` decides what goes next, `backoff`
when to try again; MQTT itself is in `session`.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from random import SystemRandom

from gateway.clock import Clock
from gateway.cloud.mqtt.arrivals import Intake
from gateway.cloud.mqtt.backoff import Reconnection
from gateway.cloud.mqtt.board import Board, Nonces
from gateway.cloud.mqtt.codec import FAILURE, RETAIN_NOT_SUPPORTED
from gateway.cloud.mqtt.recall import ReadBack
from gateway.cloud.mqtt.rivalry import Rivalry
from gateway.cloud.mqtt.send_order import HASTY, Message, Sending
from gateway.cloud.mqtt.session import OVERHEAD_BYTES, Session
from gateway.cloud.mqtt.subscription import Subscription
from gateway.cloud.mqtt.types import (
    COMMANDS_DROPPED,
    COMMANDS_REFUSED,
    CommandDesk,
    ConnectionSnapshot,
    Ending,
    MessageEnvelope,
    Observer,
    RecallJudge,
    Replayed,
    Terms,
    UplinkSettings,
)
from gateway.cloud.outbox import Outbox
from gateway.log import logger
from gateway.model import Json, Stream

__all__ = ["ConnectionSnapshot", "Uplink", "UplinkSettings"]

_log = logger(__name__)
_BEAT_S = 1.0
_AT_ONCE_S = 0.1
_DENIALS = frozenset((0x00, 0x80, 0x82, 0x83, 0x87, 0x8F, 0x97, 0x98, 0xA2))
"""Reason codes with which a broker ends a connection to deny a SUBSCRIBE; 0x00: no reason given."""
_READ_S = 1.0, 2.0
"""How long to wait for the retained `alarm/active`: at least, at most."""
_READ_GRACE_S = 0.25
"""… and after the SUBACK."""
_JUDGED_WITHIN_S = 5.0


class Uplink:
    """The uplink. Call every method on the loop's thread."""

    def __init__(
        self,
        settings: UplinkSettings,
        outbox: Outbox,
        clock: Clock,
        *,
        nonces: Nonces,
        observer: Observer,
        desk: CommandDesk | None = None,
        replayed: Replayed | None = None,
        recall: RecallJudge | None = None,
    ) -> None:
        self.beat = 0.0
        """Monotonic time of the last heartbeat of `run`; updated at least once a second."""
        self._settings = settings
        self._outbox = outbox
        self._clock = clock
        chance = SystemRandom()
        self._observer = observer
        self._replayed = replayed
        self._recall = recall
        root = settings.root
        self._board = Board(settings, clock, outbox, nonces)
        self._sending = Sending(
            outbox,
            root,
            self._board.slots,
            limits=settings.limits._replace(packet=settings.broker.max_packet, rate=settings.broker.rate),
            overhead=OVERHEAD_BYTES,
            chance=chance,
            observer=observer,
            replayed=replayed,
        )
        self._reconnection = Reconnection(chance)
        self._subscription = Subscription(wanted=settings.commands)
        self._read_back = ReadBack(wanted=recall is not None)
        self._intake = Intake(f"{root}/command", desk)
        self._session: Session | None = None
        self._may_retain = settings.broker.retain
        self._retains = self._may_retain
        self._rivalry = Rivalry()
        self._live = self._leaving = False
        self._later: asyncio.TimerHandle | None = None
        self._more = asyncio.Event()
        """Set when there is something to send that is not from the outbox."""
        self._news = asyncio.Event()
        self._since = self._dialled = 0.0
        self._acknowledged_at: float | None = None
        self._connections = 0
        self._error: str | None = None
        self._commands_told = self._dropped_told = ""

    async def run(self) -> None:
        """Keep the connection until cancelled or until `farewell`; raises only bugs of the program, as a group."""
        self._since = self._clock.now().mono
        sources = [self._more, self._outbox.ready, *([] if self._replayed is None else [self._replayed.ready])]
        try:
            async with asyncio.TaskGroup() as group:
                senders = [group.create_task(self._send_from(one), name="uplink sender") for one in sources]
                while not self._leaving:
                    await self._pause(await self._connect_once())
                for task in senders:
                    task.cancel()
        finally:
            self._live = False
            if self._later is not None:
                self._later.cancel()
            if self._session is not None:
                self._session.abort("stopped")

    def set_standing(self, alarms: Mapping[str, Mapping[str, Json]], upto: int) -> None:
        """Set the standing alarms after a commit, by id, and the sequence of the last alarm event in them.

        Call before `run` too: until then nothing is sent about them. The alarms' data must not be
        changed afterwards.
        """
        now = self._board.set_standing(alarms, upto)
        self._more.set()
        due = self._board.active.due()
        if self._live and due is not None and due > now and self._later is None:
            self._later = asyncio.get_running_loop().call_later(due - now, self._tell_active)

    def set_health(self, data: Mapping[str, Json]) -> None:
        """Set the health; the data must not be changed afterwards."""
        self._board.set_health(data)
        self._more.set()

    def reply(self, topic: str, payload: bytes, correlation: bytes | None = None) -> None:
        """Send a reply, ahead of every stream; kept over a lost connection, but not over a restart."""
        self._sending.reply(topic, payload, correlation)
        self._more.set()

    @property
    def connected(self) -> bool:
        """True while connected and accepted by the broker."""
        return self._live

    async def _send_from(self, source: asyncio.Event) -> None:
        """Send whenever `source` is set; without a connection, a new alarm shortens the wait for the next attempt."""
        while True:
            await source.wait()
            source.clear()
            self._sending.woken()
            self._board.numbers_changed()
            if self._live:
                self._pump()
            elif not self._news.is_set() and self._outbox.waiting(Stream.ALARM):
                self._news.set()

    async def farewell(self, timeout: float) -> None:
        """Wait for what is in flight, publish `online: false`, disconnect; within `timeout` seconds. Ends `run`."""
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

    def snapshot(self) -> ConnectionSnapshot:
        """The state for health and metrics."""
        latencies = sorted(self._sending.latencies)
        counts = self._sending.counts
        return ConnectionSnapshot(
            connected=self._live,
            since=self._since,
            reconnects=max(0, self._connections - 1),
            in_flight=self._sending.in_flight,
            error=self._error,
            latency_p50=latencies[len(latencies) // 2] if latencies else None,
            latency_p99=latencies[len(latencies) * 99 // 100] if latencies else None,
            acknowledged=self._acknowledged_at,
            accepted=counts.accepted,
            no_listener=counts.no_listener,
            replies_lost=counts.replies_lost,
            refused=self._sending.refused(),
            retained=self._retains,
            found_limit=self._sending.found_limit,
            speed=self._sending.pace.speed,
            window=self._sending.pace.window,
            commands=self._subscription.trouble or None,
            dropped=dict(self._intake.dropped),
        )

    # ---- one connection

    async def _connect_once(self) -> Ending:
        broker = self._settings.broker
        self._dialled = self._clock.now().mono
        last_words = self._board.last_words(broker, retain=self._may_retain)
        session = self._session = Session(broker, last_words, self, clean=self._intake.begin())
        opened = session.open()
        while not (opened.done() or session.ended.done()):
            self._live_on()
            await asyncio.wait((opened, session.ended), timeout=_BEAT_S, return_when=asyncio.FIRST_COMPLETED)
        if not session.ended.done():
            self._up(session, opened.result())
            await self._hold(session)
        ending = session.ended.result()
        self._intake.ended(ending, self._clock.now().mono, accepted=opened.done() and not opened.cancelled())
        self._down(ending)
        return ending

    def _up(self, session: Session, terms: Terms) -> None:
        now = self._clock.now().mono
        self._connections += 1
        self._retains = terms.retain and self._may_retain
        self._board.status.clear()
        self._sending.connected(terms.receive_maximum, terms.packet_limit, now, terms.speed)
        self._sending.pace.measured(session.round_trip())
        self._reconnection.connected(now)
        _log.info("uplink.connected", after_s=round(now - self._since, 1), attempt=self._connections)
        self._live, self._since, self._error = True, now, None
        self._ask_back(session, now - self._dialled)
        self._pump()
        self._subscription.connected(now)
        self._listen(session, now)
        if self._subscription.settled and not self._read_back.asked:
            self._tell_online()
            self._pump()
        self._observer.link(True, "")

    async def _hold(self, session: Session) -> None:
        while not session.ended.done():
            now = self._live_on()
            self._listen(session, now)
            due = self._sending.due(now)
            left = _BEAT_S if due is None else min(_BEAT_S, due - now)
            await asyncio.wait((session.ended,), timeout=min(left, session.check() or _BEAT_S))
            dead_at = self._sending.dead_at()
            if dead_at is not None and self._clock.now().mono >= dead_at:
                session.abort("the broker acknowledges nothing", dead=True)
            elif not session.ended.done():
                self._pump()

    def _down(self, ending: Ending) -> None:
        now = self._clock.now()
        lived = now.mono - self._since if self._live else 0.0
        ending = self._told_apart(ending, now.mono, lived)
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
            self._observer.link(False, text)
        denied = ending.hung_up and ending.code in _DENIALS
        at_subscribe = denied and (self._subscription.asked or self._read_back.asked)
        self._subscription.ended(now.mono, hung_up=denied)
        self._read_back.ended(hung_up=denied)
        self._tell_commands()
        self._sending.disconnected(
            now.mono, lived, hung_up=ending.hung_up and not at_subscribe, dead=ending.dead, code=ending.code
        )
        self._reconnection.failed(now.mono, refused=ending.refused)

    def _told_apart(self, ending: Ending, now: float, lived: float) -> Ending:
        """The cause of a connection's end, as far as it shows only over several connections."""
        if ending.code == RETAIN_NOT_SUPPORTED:
            self._retain_no_more()
        if not self._live:
            return ending
        idle = not (self._sending.in_flight or self._subscription.asked or self._read_back.asked)
        quiet = ending.hung_up and not ending.code
        if quiet and not idle:
            return ending
        if self._rivalry.ended(now, lived, without_reason=quiet):
            why = f"another client uses this id ({self._settings.broker.client_id}): {ending.text}, three times"
            return ending._replace(text=why, refused=True, hung_up=False)
        return ending

    def _retain_no_more(self) -> None:
        if self._may_retain:
            _log.warning("uplink.not-retained", why="the broker takes no retained messages: they are sent without")
        self._may_retain = self._retains = False

    async def _pause(self, ending: Ending) -> None:
        begun = self._clock.now().mono
        alarms = self._outbox.waiting(Stream.ALARM)
        while not self._leaving:
            waiting = self._outbox.waiting
            wait = self._reconnection.wait(urgent=any(waiting(stream) for stream in HASTY))
            if waiting(Stream.ALARM) > alarms and not ending.refused:
                wait = min(wait, _AT_ONCE_S)
            left = begun + wait - self._live_on()
            if left <= 0:
                return
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, _BEAT_S)):
                    await self._news.wait()

    async def _take_leave(self, session: Session, timeout: float) -> None:
        self._sending.drain()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout / 2):
                await self._all_answered()
        self._board.numbers_changed(leaving=True)
        self._publish_last(session)
        status, payload = self._board.status, self._board.farewell()
        mid = session.publish(status.topic, payload, retain=self._retains)
        if mid is not None:
            self._sending.sent(mid, Message(status.topic, payload, slot=status), self._clock.now().mono)
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout / 4):
                    await self._all_answered()
            session.close()
            await asyncio.wait((session.ended,), timeout=timeout / 4)

    def _publish_last(self, session: Session) -> None:
        """Publish `alarm/active` with the last numbers, for the next process to read."""
        message = None if self._read_back.holding else self._sending.parting(self._board.active)
        if message is not None:
            mid = session.publish(message.topic, message.payload, retain=self._retains)
            if mid is not None:
                self._sending.sent(mid, message, self._clock.now().mono)

    async def _all_answered(self) -> None:
        while self._sending.in_flight and self._live:
            self._news.clear()
            await self._news.wait()

    # ---- what comes on the session (`SessionOwner`)

    def acknowledged(self, acks: list[tuple[int, int]]) -> None:
        """Take PUBACKs, and send more in the room that they leave."""
        now = self._acknowledged_at = self._clock.now().mono
        for mid, code in acks:
            if code == RETAIN_NOT_SUPPORTED:
                self._retain_no_more()
            self._sending.answered(mid, code, now)
        if self._leaving:
            self._news.set()
        self._pump()

    def subscribed(self, topic: str, code: int) -> None:
        """Take a SUBACK: for commands, or for what is retained on `alarm/active`."""
        if topic == self._board.active.topic:
            self._got_read(code)
            return
        self._subscription.answered(code, self._clock.now().mono)
        self._tell_commands()
        self._tell_online()
        self._pump()

    def arrived(self, topic: str | None, payload: bytes, envelope: MessageEnvelope) -> None:
        """Take a message: a command, what is retained on `alarm/active`, or one that is not for us."""
        if topic == self._board.active.topic:  # what we asked for, or published ourselves
            envelope.acknowledge()
            if envelope.retain:
                self._recalled(payload)
            return
        ours = self._intake.arrived(topic, payload, envelope, self._clock.now().mono)
        self._tell_dropped()
        if not ours and self._session is not None:
            self._session.abort("a message on a topic that was never subscribed", goodbye=True)

    def _ask_back(self, session: Session, dialled: float) -> None:
        """On the first connection of a process: ask for the `alarm/active` that the previous process left.

        This happens before anything is sent. The wait is twice the time of dialling, between 1 and 2 s.
        """
        if self._retains and self._read_back.connected():
            session.read(self._board.active.topic)
            wait = min(max(2 * dialled, _READ_S[0]), _READ_S[1])
            asyncio.get_running_loop().call_later(wait, self._read_in_vain, session)

    def _got_read(self, code: int) -> None:
        session = self._session
        if session is None or not self._read_back.asked:
            return
        if code >= FAILURE:
            self._recalled(None)
        else:  # a retained message comes with the answer; a broker without one sends nothing
            asyncio.get_running_loop().call_later(_READ_GRACE_S, self._read_in_vain, session)

    def _read_in_vain(self, session: Session) -> None:
        if session is self._session:
            self._recalled(None)

    def _recalled(self, payload: bytes | None) -> None:
        session, judge = self._session, self._recall
        if session is None or judge is None or not self._read_back.asked:
            return
        self._read_back.answered()
        session.read_no_more(self._board.active.topic)
        under_way = judge.recalled(payload)
        if under_way is None:
            self._read_back.judged()
        else:
            under_way.add_done_callback(lambda _: self._resume())
            asyncio.get_running_loop().call_later(_JUDGED_WITHIN_S, self._resume)
        now = self._clock.now().mono
        self._listen(session, now)
        if self._subscription.settled:
            self._tell_online()
        self._more.set()

    def _resume(self) -> None:
        """The recalled message has been handled, or took too long: sending may begin."""
        self._read_back.judged()
        self._more.set()

    def _listen(self, session: Session, now: float) -> None:
        """Maintain the subscription to commands."""
        self._intake.look(now)
        self._tell_dropped()
        self._subscription.look(now)
        self._tell_commands()
        if self._subscription.due(now) and not self._read_back.asked:
            self._subscription.ask(now)
            session.subscribe(f"{self._settings.root}/command")

    def _tell_commands(self) -> None:
        trouble = self._subscription.trouble
        if trouble != self._commands_told:
            self._commands_told = trouble
            if trouble:
                _log.error("uplink.no-commands", why=trouble)
            self._observer.trouble(COMMANDS_REFUSED, trouble)

    def _tell_dropped(self) -> None:
        trouble = self._intake.trouble
        if trouble != self._dropped_told:
            self._dropped_told = trouble
            if trouble:
                _log.warning("uplink.dropped", why=trouble)
            self._observer.trouble(COMMANDS_DROPPED, trouble)

    # ---- sending

    def _tell_active(self) -> None:
        self._later = None
        self._more.set()

    def _pump(self) -> None:
        session = self._session
        if not self._live or session is None or self._read_back.holding:
            return
        if self._outbox.ready.is_set():  # an alarm of this turn goes before what else would fill the window
            self._sending.woken()
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
        """The heartbeat of `run`: note the time, renew the nonce."""
        now = self._clock.now().mono
        self.beat = now
        if self._board.renew(now):
            self._tell_online()
        return now

    def _tell_online(self) -> None:
        if self._live and self._subscription.settled and not self._leaving:
            self._board.tell_online()
