"""What is due is done in order, never early, and soon."""

import asyncio
from functools import partial

from simulators.timer import Agenda


async def _done(what: list[object], count: int) -> None:
    async with asyncio.timeout(2):
        while len(what) < count:
            await asyncio.sleep(0.001)


async def test_actions_are_done_in_the_order_of_their_times_and_never_early() -> None:
    loop = asyncio.get_running_loop()
    agenda = Agenda()
    agenda.open()
    begin = loop.time()
    done: list[object] = []
    late: list[float] = []

    def note(name: str, due: float) -> None:
        done.append(name)
        late.append(loop.time() - due)

    for name, after in (("c", 0.03), ("a", 0.01), ("b", 0.01), ("now", -1.0)):
        agenda.at(begin + after, partial(note, name, begin + after))
    await _done(done, 4)
    agenda.close()

    assert done == ["now", "a", "b", "c"]
    assert min(late) >= 0


async def test_it_is_finer_than_a_millisecond() -> None:
    loop = asyncio.get_running_loop()
    agenda = Agenda()
    agenda.open()
    late: list[object] = []

    def again(due: float) -> None:
        late.append(loop.time() - due)
        if len(late) < 100:
            agenda.at(due := loop.time() + 0.0021, partial(again, due))

    agenda.at(due := loop.time() + 0.0021, partial(again, due))
    await _done(late, 100)
    agenda.close()

    assert sorted(float(str(it)) for it in late)[20] < 0.0005


async def test_an_action_may_ask_for_another_and_a_closed_agenda_forgets() -> None:
    agenda = Agenda()
    agenda.open()
    done: list[object] = []

    agenda.at(0.0, lambda: agenda.at(0.0, lambda: done.append("second")))
    await _done(done, 1)
    agenda.at(asyncio.get_running_loop().time() + 0.01, lambda: done.append("too late"))
    agenda.close()
    agenda.at(0.0, lambda: done.append("closed"))
    await asyncio.sleep(0.02)

    assert done == ["second"]
