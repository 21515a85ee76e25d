import asyncio
import os

from drivers.modbus.timerfd import TimerFd


async def test_it_rings_after_its_time_and_once() -> None:
    loop = asyncio.get_running_loop()
    timer = TimerFd(loop)
    lags = []
    for wait in [0.0003, 0.0012, 0.0017, 0.0023] * 10:
        rung = loop.create_future()
        when = loop.time() + wait
        timer.start(when, rung)
        await rung
        lags.append(loop.time() - when)
    timer.close()
    assert min(lags) >= 0.0
    assert min(lags) < 0.0005


async def test_it_rings_at_once_for_what_is_past_and_not_after_a_stop() -> None:
    loop = asyncio.get_running_loop()
    timer = TimerFd(loop)
    rung = loop.create_future()
    timer.start(loop.time() - 1.0, rung)
    await rung
    stopped = loop.create_future()
    timer.start(loop.time() + 0.002, stopped)
    timer.stop()
    await asyncio.sleep(0.01)
    assert not stopped.done()
    timer.close()


async def test_nothing_is_left_open() -> None:
    loop = asyncio.get_running_loop()
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(5):
        timer = TimerFd(loop)
        timer.start(loop.time() + 10.0, loop.create_future())
        timer.close()
        timer.close()
        timer.stop()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
