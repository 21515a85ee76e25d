"""Ways into a site that is not there."""

from collections.abc import Awaitable, Callable

from gateway.model import Input


class Inbox:
    """Hands everything to a function of the test."""

    def __init__(self, take: Callable[[Input], Awaitable[None]]) -> None:
        self._take = take

    async def put(self, item: Input) -> None:
        await self._take(item)


class Kept:
    """Keeps what is handed in."""

    def __init__(self) -> None:
        self.inputs: list[Input] = []

    async def put(self, item: Input) -> None:
        self.inputs.append(item)

    def remind(self, item: Input) -> None:
        self.inputs.append(item)
