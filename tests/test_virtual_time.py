import asyncio
import time

import pytest

from tests import virtual_time


def test_hours_pass_in_no_time() -> None:
    async def main() -> list[float]:
        clock = virtual_time.clock()
        before = clock.now()
        await asyncio.sleep(36_000)
        after = clock.now()
        return [after.mono - before.mono, after.wall - before.wall]

    began = time.monotonic()
    assert virtual_time.run(main()) == pytest.approx([36_000, 36_000])
    assert time.monotonic() - began < 5


def test_waiting_for_nothing_is_an_error() -> None:
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(RuntimeError, match="hang"):
        virtual_time.run(main())
