"""Requests of people on site: puts them into the inbox, and returns the site's replies to the callers.

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
"""Longer than a reset may take, including switching the device's supply."""


class People:
    """The people who wait for a reply."""

    def __init__(self, inbox: SiteInbox, clock: Clock) -> None:
        self._inbox = inbox
        self._clock = clock
        self._numbers = itertools.count(1)
        self._waiting: dict[str, asyncio.Future[Mapping[str, Json]]] = {}

    async def ask(self, request: Mapping[str, Any]) -> Json:
        """Ask `{cmd, args, by, role, account}`; returns data of `command.reply`. Raises ConfigError if it is invalid.

        `by` is the claimed name, `account` the asking account; the audit has both.
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
        """Pass a reply to the person who waits for it; it is dropped if nobody waits any more."""
        waiting = self._waiting.get(reply.jti)
        if waiting is not None and not waiting.done():
            waiting.set_result(reply.data)
