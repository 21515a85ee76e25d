"""What people on site ask of the gateway: in by the inbox like everything else, the answer back to who waits for it.

people = People(inbox, clock)
said = await people.ask({"cmd": "gate.open", "args": {"gate": "north-in"}, "by": "zhang", "role": "guard"})
people.answer(reply)                # a `Reply` of the site that is local
"""

import asyncio
import itertools
from collections.abc import Mapping
from typing import Any

from gateway.arguments import MAX_NAME
from gateway.clock import Clock
from gateway.driver import SiteInbox
from gateway.errors import ConfigError
from gateway.kinds import ROLES
from gateway.model import Json, Person, Reply

_PATIENCE_S = 60.0
"""Seconds: longer than a reset may take, its device's supply included."""


class People:
    """Who waits for an answer."""

    def __init__(self, inbox: SiteInbox, clock: Clock) -> None:
        self._inbox = inbox
        self._clock = clock
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
        if not isinstance(by, str) or not 0 < len(by.strip()) <= MAX_NAME:
            raise ConfigError(f"by: who asks, a name of 1-{MAX_NAME} characters")
        if role not in ROLES:
            raise ConfigError(f"role: {' | '.join(ROLES)}")
        ask = f"person-{next(self._numbers)}"
        answer = self._waiting[ask] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self._inbox.put(Person(ask, by.strip(), role, cmd, args, self._clock.now(), account))
                said: Json = await answer
                return said
        except TimeoutError as error:
            raise ConfigError(f"no answer within {_PATIENCE_S:.0f} s") from error
        finally:
            del self._waiting[ask]

    def answer(self, reply: Reply) -> None:
        """What the site says to one of them; who has left in the meantime misses it."""
        waiting = self._waiting.get(reply.jti)
        if waiting is not None and not waiting.done():
            waiting.set_result(reply.data)
