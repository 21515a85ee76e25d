import asyncio

import pytest

from gateway.clock import Clock
from gateway.driver import Push
from gateway.intake import camera_relay as relays
from gateway.intake.camera_relay import Relays
from gateway.model import Input, Instant, Operate, Outcome, Passage
from tests.inboxes import Kept

PUSH = Push(Passage("c1", "鄂A12345", Instant(1.0, 1.0, True), ""))


def told() -> tuple[Relays, list[Input]]:
    inbox = Kept()
    return Relays(Clock(), inbox), inbox.inputs


def outcomes(inputs: list[Input]) -> list[tuple[str, bool, str]]:
    return [(one.order, one.ok, one.detail) for one in inputs if isinstance(one, Outcome)]


async def test_an_order_leaves_with_the_next_answer_of_its_camera_and_once() -> None:
    mine, inputs = told()
    mine.operate(Operate("o1", "c1", "io0", 0.5, None))
    assert not mine.leaves_with(Push(Passage("c2", "a", PUSH.passage.at, "")))
    assert mine.leaves_with(PUSH)
    assert not mine.leaves_with(PUSH)
    assert outcomes(inputs) == [("o1", True, "")]


async def test_a_later_order_withdraws() -> None:
    mine, inputs = told()
    mine.operate(Operate("o1", "c1", "io0", 0.5, None))
    mine.operate(Operate("o2", "c1", "io0", 0.5, None))
    mine.operate(Operate("o3", "c1", "io0", False, None))
    assert not mine.leaves_with(PUSH)
    assert outcomes(inputs) == [("o1", False, "withdrawn"), ("o2", False, "withdrawn"), ("o3", True, "")]


async def test_nothing_is_held() -> None:
    mine, inputs = told()
    mine.operate(Operate("o1", "c1", "io0", True, None))
    assert not mine.leaves_with(PUSH)
    assert outcomes(inputs) == [("o1", False, "refused")]


@pytest.mark.parametrize("expires", [0.0, None])
async def test_an_order_does_not_wait_for_ever(expires: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relays, "LONGEST_S", 0.02)
    mine, inputs = told()
    mine.operate(Operate("o1", "c1", "io0", 0.5, expires))
    async with asyncio.timeout(5):
        while not inputs:
            await asyncio.sleep(0.005)
    assert outcomes(inputs) == [("o1", False, "expired")]
    assert not mine.leaves_with(PUSH)
