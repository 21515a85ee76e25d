"""What people on site ask of the gateway: in by the inbox like everything else, the answer back to who waits for it.

people = People(inbox.put, clock, performed)
said = await people.ask({"cmd": "gate.open", "args": {"gate": "north-in"}, "by": "zhang", "role": "guard"})
people.answer(reply)                # a `Reply` of the site that is local
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from gateway.clock import Clock
from gateway.cloud.commands import arguments
from gateway.errors import ConfigError
from gateway.model import Json, Person, Reply

_PATIENCE = 60.0
"""Seconds: longer than a reset may take, its device's supply included."""
_NAME = 200
_ROLES = ("guard", "steward", "technician")


class People:
    """Who waits for an answer. `put` hands in; `performed`: the commands that are carried out outside of the site."""

    def __init__(self, put: Callable[[Person], Awaitable[None]], clock: Clock, performed: Collection[str]) -> None:
        self._put = put
        self._clock = clock
        self._performed = performed
        self._numbers = itertools.count(1)
        self._waiting: dict[str, asyncio.Future[Mapping[str, Json]]] = {}

    async def ask(self, request: Mapping[str, Any]) -> Json:
        """`{cmd, args, by, role, account}` as data of `command.reply`. Raises ConfigError for what is no request.

        `by` is the name that is claimed, `account` the one that asked; the audit has both.
        """
        cmd, args, by, role = (request.get(key) for key in ("cmd", "args", "by", "role"))
        account = str(request.get("account") or "")
        if not isinstance(cmd, str) or not isinstance(args, dict):
            raise ConfigError("cmd: the name of a command; args: an object")
        if not isinstance(by, str) or not 0 < len(by.strip()) <= _NAME:
            raise ConfigError(f"by: who asks, a name of 1-{_NAME} characters")
        if role not in _ROLES:
            raise ConfigError(f"role: {' | '.join(_ROLES)}")
        if cmd in self._performed:
            _look_at(cmd, args)
        ask = f"person-{next(self._numbers)}"
        answer = self._waiting[ask] = asyncio.get_running_loop().create_future()
        try:
            await self._put(Person(ask, by.strip(), role, cmd, args, self._clock.now(), account))
            async with asyncio.timeout(_PATIENCE):
                said: Json = await answer
                return said
        except TimeoutError as error:
            raise ConfigError(f"no answer within {_PATIENCE:.0f} s") from error
        finally:
            del self._waiting[ask]

    def answer(self, reply: Reply) -> None:
        """What the site says to one of them; who has left in the meantime misses it."""
        waiting = self._waiting.get(reply.jti)
        if waiting is not None and not waiting.done():
            waiting.set_result(reply.data)


def _look_at(cmd: str, args: Mapping[str, object]) -> None:
    """The site does not look at these. Raises ConfigError."""
    try:
        arguments.check(cmd, args)
    except ValueError as error:
        raise ConfigError(f"args.{error}") from error
