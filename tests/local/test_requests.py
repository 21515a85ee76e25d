"""People on site: who asks, what it becomes, who gets the answer."""

import asyncio
from typing import Any

import pytest

from gateway.clock import Clock
from gateway.errors import ConfigError
from gateway.local.requests import People
from gateway.model import Input, Json, Person, Reply
from gateway.runtime.inbox import Inbox
from tests.inbox import ShutInbox

GOOD = {"cmd": "gate.open", "args": {"gate": "north"}, "by": "zhang", "role": "guard"}


class Desk(ShutInbox):
    """Takes what is handed in, and answers it by `say`."""

    def __init__(self, say: Json = "said") -> None:
        self.asked: list[Person] = []
        self.people = People(self, Clock())
        self._say = say

    async def put(self, item: Input) -> None:
        assert isinstance(item, Person)
        self.asked.append(item)
        self.people.answer(Reply("somebody else", None, {"ok": False}, local=True))
        self.people.answer(Reply(item.ask, None, {"ok": True, "result": self._say}, local=True))
        self.people.answer(Reply(item.ask, None, {"ok": False, "result": "too late"}, local=True))


async def test_everybody_gets_his_own_answer() -> None:
    desk = Desk()

    said = await asyncio.wait_for(desk.people.ask(GOOD), 5)
    await asyncio.wait_for(desk.people.ask({**GOOD, "by": " li "}), 5)

    assert said == {"ok": True, "result": "said"}
    assert [(one.by, one.role, one.cmd, one.args) for one in desk.asked] == [
        ("zhang", "guard", "gate.open", {"gate": "north"}),
        ("li", "guard", "gate.open", {"gate": "north"}),
    ]
    assert len({one.ask for one in desk.asked}) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"cmd": None},
        {"args": []},
        {"by": ""},
        {"by": "  "},
        {"by": "x" * 201},
        {"by": 7},
        {"role": "owner"},
        {"role": None},
    ],
)
async def test_what_is_no_request_never_reaches_the_site(wrong: dict[str, Any]) -> None:
    desk = Desk()

    with pytest.raises(ConfigError):
        await desk.people.ask({**GOOD, **wrong})

    assert desk.asked == []


async def test_what_finds_no_room_in_time_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.local.requests._PATIENCE_S", 0.05)
    inbox = Inbox(room=1)
    people = People(inbox, Clock())
    with pytest.raises(ConfigError, match="no answer"):
        await people.ask(GOOD)  # it has the only room, and nobody takes it

    async with asyncio.timeout(5):
        with pytest.raises(ConfigError, match="no answer"):
            await people.ask({**GOOD, "cmd": "gate.hold"})

    taken = [inbox.take(), inbox.take()]
    assert [one.cmd for one in taken if isinstance(one, Person)] == ["gate.open"]
