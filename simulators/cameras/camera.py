"""A plate camera that is not there: it sees what it is told to see, and behaves as its maker's cameras do."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import aiohttp

from simulators.cameras.jpeg import jpeg
from simulators.cameras.makers import MAKERS
from simulators.cameras.model import Asked, CameraSetup, CarSight, OpenedItself, Post, PushAnswer, RelayOrder, Turn
from simulators.cameras.shows import Shows
from simulators.cameras.web import CameraWeb

_KEPT: Final = 4096
_MISSES: Final = 3
"""Heart-beats without an answer until it registers anew."""
_SEEDS: Final = 16
"""Different pictures of one camera."""


@dataclass(slots=True)
class _Waiting:
    """A capture that was not taken yet."""

    sight: CarSight
    seen: float
    """Seconds of the loop's clock."""
    tries: int = 0
    history: bool = False
    opened: bool = False
    """The camera let the car in by itself."""


class VirtualCamera:
    """`async with VirtualCamera(setup, "http://127.0.0.1:8080") as camera: await camera.sees("沪A12345")`.

    It pushes from `setup.address`, a loopback address of its own, and has a web server there (`address`); with mode
    `pull` it only answers. `gateway_url` may be changed at any time. Not for use from another thread.
    """

    def __init__(self, setup: CameraSetup, gateway_url: str) -> None:
        self.setup = setup
        self.gateway_url = gateway_url
        self.sights: deque[CarSight] = deque(maxlen=_KEPT)
        """Every car, in the order of time."""
        self.answers: deque[PushAnswer] = deque(maxlen=_KEPT)
        """What became of every sending of a plate."""
        self.heartbeats: deque[PushAnswer] = deque(maxlen=_KEPT)
        """What became of every heart-beat and registration."""
        self.white_list_used: list[OpenedItself] = []
        self.relay_orders: list[RelayOrder] = []
        self.lost: list[CarSight] = []
        """What it had no memory for."""
        self._maker = MAKERS[setup.driver](setup)
        self._timeout = self._maker.timeout if setup.timeout is None else setup.timeout
        self._retry = self._maker.retry if setup.retry is None else setup.retry
        self._retries = self._maker.retries if setup.retries is None else setup.retries
        self._every = self._maker.heartbeat if setup.heartbeat is None else setup.heartbeat
        self._memory = self._maker.memory if setup.memory is None else setup.memory
        self._web = CameraWeb(setup, self._maker, self)
        self._live: deque[_Waiting] = deque()
        self._kept: deque[_Waiting] = deque()
        self._sending: _Waiting | None = None
        self._plugged = True
        self._cut_off = False
        self._registered = False
        self._turns = 0
        """How often the plug was pulled or put back."""
        self._number = 0
        self._patiences: set[asyncio.Timeout] = set()
        self._news = asyncio.Event()
        self._stack = contextlib.AsyncExitStack()
        self._session: aiohttp.ClientSession | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Raises OSError if its address or port cannot be had."""
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self._web)
            self._session = await stack.enter_async_context(self._client())
            group = await stack.enter_async_context(asyncio.TaskGroup())
            works: list[tuple[str, Coroutine[Any, Any, None]]] = []
            if self.setup.mode == "push":
                works.append(("pushes", self._push()))
                if self._every is not None:
                    works.append(("heart-beat", self._beat(self._every)))
            self._tasks = [group.create_task(work, name=f"{self.setup.name} {name}") for name, work in works]
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Whatever is on its way ends."""
        for task in self._tasks:
            task.cancel()
        await self._stack.__aexit__(None, None, None)

    # ---- what the world does ----

    def look(self, words: str) -> None:
        """What its picture shows from now on: words of `shows.WORDS`; "" is an ordinary day."""
        if self._web.shows is None:
            self._web.shows = Shows(self.setup.name)
        self._web.shows.look = words

    def see(
        self, plate: str | None, *, confidence: float = 97.0, direction: Turn = "forward", colour: str | None = "blue",
        at: float | None = None,
    ) -> CarSight:  # fmt: skip
        """A car passes: `plate` None: none was read; `at`: another time than now, seconds since 1970."""
        self._number += 1
        seed = self._number % _SEEDS
        size = self.setup.picture_bytes
        sight = CarSight(
            self._number, plate, float(confidence), direction, colour if plate is not None else None,
            time.time() if at is None else at,
            jpeg(size // 10, seed=seed, width=96, height=32), jpeg(size, seed=seed),
        )  # fmt: skip
        self.sights.append(sight)
        if self.setup.mode == "pull":
            if not self._plugged or not self._web.tell(sight):
                self._keep(_Waiting(sight, _now()))
        elif self.setup.mode == "push":
            self._live.append(_Waiting(sight, _now()))
            self._stow()
        self.changed()
        return sight

    async def sees(self, plate: str | None, *, timeout: float = 10.0, **more: Any) -> PushAnswer:
        """As `see`, and waits until the gateway took it; gives that answer. Raises TimeoutError."""
        sight = self.see(plate, **more)
        taken: list[PushAnswer] = []

        def came(camera: "VirtualCamera") -> bool:
            taken.extend(one for one in camera.answers if one.post.sight is sight and one.right)
            return bool(taken)

        await self.until(came, timeout)
        return taken[0]

    def offline(self) -> None:
        """The network cable is pulled: nothing goes out or comes in, cars are seen all the same."""
        self._plugged = False
        self._turns += 1
        now = _now()
        for patience in self._patiences:
            patience.reschedule(now)
        self._web.unplug()
        self._stow()
        self.changed()

    def online(self) -> None:
        """The cable is back."""
        self._plugged = True
        self._turns += 1
        self._web.plug()
        self.changed()

    @property
    def picture(self) -> bytes | None:
        """What its web server shows, whatever these bytes are; None: another good picture each time."""
        return self._web.picture

    @picture.setter
    def picture(self, picture: bytes | None) -> None:
        self._web.picture = picture

    # ---- what there is, and what happened ----

    @property
    def address(self) -> str:
        """`HOST:PORT` of its web server; it pushes from the same host."""
        return f"{self.setup.address}:{self._web.port}"

    @property
    def pending(self) -> list[CarSight]:
        """What the gateway has not taken yet, oldest first."""
        return [one.sight for one in (*self._kept, *self._live)]

    @property
    def is_cut_off(self) -> bool:
        """It believes that nobody is there: the plug is out, or nobody answered."""
        return self._cut_off or not self._plugged

    @property
    def attached(self) -> int:
        """How many follow its stream."""
        return self._web.attached

    @property
    def asked(self) -> deque[Asked]:
        """Every request to its web server."""
        return self._web.asked

    @property
    def wrong_logins(self) -> list[str]:
        """From where somebody came with a wrong password, each time."""
        return self._web.logins.wrong

    def raw(self, plate: str | None) -> str | None:
        """The plate as this maker writes it."""
        return self._maker.raw(plate)

    def is_locked_out(self, remote: str) -> bool:
        """After too many wrong logins this address is refused whatever it says."""
        return self._web.logins.locked_for(remote, _now()) > 0

    async def until(self, reached: Callable[["VirtualCamera"], bool], timeout: float | None = 10.0) -> None:
        """Wait until `reached(self)`. Raises TimeoutError."""
        async with asyncio.timeout(timeout):
            while not reached(self):
                self._news.clear()
                await self._news.wait()

    # ---- what its web server tells it ----

    def fetched(self, sight: CarSight) -> None:
        """Somebody asked for this record."""
        for waiting in [one for one in self._kept if one.sight is sight]:
            self._kept.remove(waiting)

    def changed(self) -> None:
        """Something is new for those who wait."""
        self._news.set()

    # ---- pushes ----

    async def _push(self) -> None:
        while True:
            await self.until(lambda it: it._may_push, None)  # noqa: SLF001 - our own
            waiting = self._sending = self._live[0] if self._live else self._kept[0]
            post = self._maker.push(waiting.sight, history=waiting.history, opened=waiting.opened)
            answer = await self._post(post)
            self._sending = None
            self._judge(waiting, answer)
            self._stow()
            self.changed()
            if not answer.right:
                await self._pause(self._retry)

    @property
    def _may_push(self) -> bool:
        if self.is_cut_off or (self._maker.must_register and not self._registered):
            return False
        return bool(self._live or self._kept)

    def _judge(self, waiting: _Waiting, answer: PushAnswer) -> None:
        self.answers.append(answer)
        if answer.right:
            self.relay_orders += self._maker.orders(answer)
            if waiting.history and self._live and self._maker.interrupts:
                return  # a live capture broke in: the record is sent again
            (self._kept if waiting.history else self._live).remove(waiting)
            return
        waiting.tries += 1
        self._decide_alone(waiting)
        if waiting.history or self._retries is None or (waiting.tries <= self._retries and self._plugged):
            return
        self._live.remove(waiting)
        self._keep(waiting)
        if answer.status is None and self._every is not None:
            self._cut_off = True

    def _stow(self) -> None:
        """While it is cut off everything goes into the memory."""
        if self.is_cut_off and self._sending is None:
            while self._live:
                waiting = self._live.popleft()
                self._decide_alone(waiting)
                self._keep(waiting)

    def _keep(self, waiting: _Waiting) -> None:
        waiting.history = True
        remembers = self.setup.mode == "push" or self._maker.answers_queries
        if remembers and self._memory and not self.setup.forgets:
            self._kept.append(waiting)
            if len(self._kept) > self._memory:
                self.lost.append(self._kept.popleft().sight)
        else:
            self.lost.append(waiting.sight)

    def _decide_alone(self, waiting: _Waiting) -> None:
        if waiting.sight.plate in self.setup.white_list and not waiting.opened:
            waiting.opened = True
            self.white_list_used.append(OpenedItself(waiting.sight, _now() - waiting.seen))

    # ---- heart-beats ----

    async def _beat(self, every: float) -> None:
        misses = 0
        while True:
            await self.until(lambda it: it._plugged, None)  # noqa: SLF001 - our own
            right = await self._is_alive()
            misses = 0 if right else misses + 1
            if misses >= _MISSES:
                self._registered = False
            waits = self._cut_off or (self._maker.must_register and not self._registered)
            self._stow()
            self.changed()
            await self._pause(min(every, self._maker.reconnect) if waits else every)

    async def _is_alive(self) -> bool:
        """Registration where it is due, then the heart-beat. False: one of them was not answered rightly."""
        registration = None if self._registered else self._maker.registration()
        alive = self._maker.alive()
        for post in (registration, alive):
            if post is None:
                continue
            answer = await self._post(post)
            self.heartbeats.append(answer)
            self._cut_off = answer.status is None
            if post is registration:
                self._registered = answer.right
            if not answer.right and (self._cut_off or post is alive or self._maker.must_register):
                return False
        return True

    # ---- the wire ----

    def _client(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            local_addr=(self.setup.address, 0), force_close=not self._maker.keeps_connection, limit=4
        )
        digest: tuple[aiohttp.DigestAuthMiddleware, ...] = ()
        if self.setup.username is not None and self.setup.password is not None:
            digest = (aiohttp.DigestAuthMiddleware(self.setup.username, self.setup.password),)
        return aiohttp.ClientSession(connector=connector, middlewares=digest, timeout=aiohttp.ClientTimeout(None))

    async def _post(self, post: Post) -> PushAnswer:
        if self._session is None:
            raise RuntimeError(f"{self.setup.name} is not open")
        begin = _now()
        try:
            async with asyncio.timeout(self._timeout) as patience:
                self._patiences.add(patience)
                try:
                    status, body = await self._exchange(self._session, post)
                finally:
                    self._patiences.discard(patience)
        except TimeoutError:
            return PushAnswer(post, None, b"", _now() - begin, right=False, error="no answer in time")
        except (aiohttp.ClientError, OSError) as error:
            return PushAnswer(post, None, b"", _now() - begin, right=False, error=f"{type(error).__name__}: {error}")
        return PushAnswer(post, status, body, _now() - begin, self._maker.is_right(post, status, body))

    async def _exchange(self, session: aiohttp.ClientSession, post: Post) -> tuple[int, bytes]:
        headers = {"Content-Type": post.content_type}
        token = None if self.setup.token is None else {"token": self.setup.token}
        async with session.post(
            self._url(post), params=token, data=post.body, headers=headers, allow_redirects=False
        ) as response:
            return response.status, await response.read()

    def _url(self, post: Post) -> str:
        """The maker's own path where the firmware knows no other; the camera's own elsewhere, and with a token."""
        own = self._maker.fixed_paths and self.setup.token is None
        path = post.path if own else f"/cameras/{self.setup.name}{post.path}"
        return f"{self.gateway_url.rstrip('/')}{path}"

    async def _pause(self, seconds: float) -> None:
        """So long, or until the plug is pulled or put back."""
        turns = self._turns
        with contextlib.suppress(TimeoutError):
            await self.until(lambda it: it._turns != turns, seconds)  # noqa: SLF001 - our own


def _now() -> float:
    return asyncio.get_running_loop().time()
