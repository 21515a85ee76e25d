"""A TCP proxy that breaks links on demand, to stand before a broker, a Modbus TCP device, anything.

    async with Proxy(broker.port) as proxy:
        connect to proxy.port …
        proxy.black_hole(); …; proxy.restore()

What cannot be passed on stays in the kernel's buffers, whose sender has to wait in the end; so nothing is lost
while a connection lives, and memory is bounded: 64 KiB for each direction of at most 256 connections.
"""

import asyncio
import socket
import struct
from types import TracebackType
from typing import Self

_PIECE_BYTES = 64 << 10
_CONNECTIONS = 256
_CONNECT_WITHIN_S = 10.0
_STEP_S = 0.02
_LINGER_NOT = struct.pack("ii", 1, 0)
"""SO_LINGER on, 0 s: closing sends RST and drops what was not sent."""
_ESTABLISHED = 1
"""The state in TCP_INFO of a connection that neither side has ended."""


class Proxy:
    """Passes on from `port` of the loopback to `target`. Made and steered on one event loop."""

    def __init__(self, target: int, host: str = "127.0.0.1") -> None:
        self.port = 0
        self.accepted = 0
        """Connections so far."""
        self.passed = 0
        """Bytes passed on so far, both ways."""
        self._target = (host, target)
        self._group = asyncio.TaskGroup()
        self._listener: socket.socket | None = None
        self._acceptor: asyncio.Task[None] | None = None
        self._links: set[_Link] = set()
        self.light = asyncio.Event()
        """New connections reach the target."""
        self.flow = asyncio.Event()
        """Bytes are passed on."""
        self.speed: int | None = None
        """Bytes a second for each direction of a connection; None: as they come."""
        self.left: int | None = None
        """Bytes towards the target until the connection that carries the last of them is reset."""

    async def __aenter__(self) -> Self:
        """Listen. Raises OSError."""
        await self._group.__aenter__()
        self.restore()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Reset every connection, stop listening."""
        self.refuse()
        await self._group.__aexit__(kind, error, trace)

    # ---- faults ---------------------------------------------------------------------------------

    def cut(self) -> None:
        """Reset every connection (RST to both sides); new ones work."""
        for link in self._links:
            link.reset()

    def stall(self) -> None:
        """Connections are made, bytes are taken, nothing is delivered; `restore` delivers it."""
        self.flow.clear()

    def black_hole(self) -> None:
        """As a dead route: what there is falls silent, new connections are taken by the kernel and never answered.

        `restore` lets those go on that still live; of one whose client has given up nothing is delivered.
        """
        self.light.clear()
        self.flow.clear()

    def slow(self, bytes_per_s: int) -> None:
        """Each direction of each connection passes on so many bytes a second."""
        self.speed = bytes_per_s

    def half_close(self) -> None:
        """The target seems to have ended its side of what there is: clients read the end, but can still write."""
        for link in self._links:
            link.end_answers()

    def reset_in_packet(self, after_bytes: int) -> None:
        """Pass on so many more bytes to the target, then reset the connection that carried the last of them; once."""
        self.left = after_bytes

    def refuse(self) -> None:
        """Reset every connection and stop listening: nobody is there."""
        if self._acceptor is not None:
            self._acceptor.cancel()
        self._acceptor = self._listener = None
        self.cut()

    def restore(self) -> None:
        """End every fault. Raises OSError if somebody else has taken the port since `refuse`."""
        if not self.light.is_set():
            for link in self._links:
                link.reset_if_given_up()
        self.speed = self.left = None
        self.light.set()
        self.flow.set()
        if self._listener is None:
            listener = self._listener = self._listen()
            self._acceptor = self._group.create_task(self._accept(listener), name="proxy accept")
            self._acceptor.add_done_callback(lambda _: listener.close())

    # ---- connections ----------------------------------------------------------------------------

    def _listen(self) -> socket.socket:
        listener = socket.socket()
        try:
            # The port of a listener that `refuse` ended may be had at once, also before its closing is done.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.setblocking(False)
            listener.bind(("127.0.0.1", self.port))
            listener.listen(_CONNECTIONS)
        except OSError:
            listener.close()
            raise
        self.port = listener.getsockname()[1]
        return listener

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            client, _ = await loop.sock_accept(listener)
            if len(self._links) >= _CONNECTIONS:
                client.close()
                continue
            self.accepted += 1
            link = _Link(self, client)
            self._links.add(link)
            link.task = self._group.create_task(link.run(self._target), name=f"proxy link {self.accepted}")
            link.task.add_done_callback(link.close)

    def ended(self, link: "_Link") -> None:
        """The link is closed."""
        self._links.discard(link)


class _Link:
    """One connection through the proxy."""

    def __init__(self, proxy: Proxy, client: socket.socket) -> None:
        self.task: asyncio.Task[None] | None = None
        self._proxy = proxy
        self._client = client
        self._target = socket.socket()
        self._answers = True

    async def run(self, target: tuple[str, int]) -> None:
        """Pass on both ways until both have ended, or one is reset: then the other is too."""
        self._client.setblocking(False)
        self._target.setblocking(False)
        await self._proxy.light.wait()
        try:
            async with asyncio.timeout(_CONNECT_WITHIN_S):
                await asyncio.get_running_loop().sock_connect(self._target, target)
        except (OSError, TimeoutError):
            self.reset()
            return
        for side in (self._client, self._target):
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pass_on(self._client, self._target), name="proxy up")
            group.create_task(self._pass_on(self._target, self._client), name="proxy down")

    def reset(self) -> None:
        """End it with RST to both sides."""
        for side in (self._client, self._target):
            side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        if self.task is not None:
            self.task.cancel()

    def reset_if_given_up(self) -> None:
        """End it if its client has ended its side."""
        if self._client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != _ESTABLISHED:
            self.reset()

    def end_answers(self) -> None:
        """FIN to the client; what the target still says is dropped."""
        if self._answers:
            self._answers = False
            self._client.shutdown(socket.SHUT_WR)

    def close(self, _task: object) -> None:
        """Give the sockets back."""
        self._client.close()
        self._target.close()
        self._proxy.ended(self)

    async def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        """One direction, until `source` has ended."""
        loop, proxy = asyncio.get_running_loop(), self._proxy
        is_up = source is self._client
        try:
            while True:
                await proxy.flow.wait()
                size = _PIECE_BYTES if proxy.speed is None else max(1, int(proxy.speed * _STEP_S))
                data = await loop.sock_recv(source, size)
                await proxy.flow.wait()
                if is_up and data and proxy.left is not None:
                    await self._pass_last(data)
                elif is_up or self._answers:
                    await loop.sock_sendall(sink, data)
                    proxy.passed += len(data)
                    if not data:
                        sink.shutdown(socket.SHUT_WR)
                if not data:
                    return
                if proxy.speed is not None:
                    await asyncio.sleep(len(data) / proxy.speed)
        except OSError:
            self.reset()

    async def _pass_last(self, data: bytes) -> None:
        """Pass on as much as may still be, and reset after it."""
        left = self._proxy.left or 0
        self._proxy.left = left - len(data) if len(data) < left else None
        await asyncio.get_running_loop().sock_sendall(self._target, data[:left])
        self._proxy.passed += len(data[:left])
        if self._proxy.left is None:
            self.reset()
