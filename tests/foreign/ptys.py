"""Two terminals joined back to back: what is written to one is read from the other."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

_PATIENCE = 5.0


class Pair(NamedTuple):
    """The names of both ends."""

    near: str
    far: str


@asynccontextmanager
async def joined() -> AsyncIterator[Pair]:
    """A pair made by socat. Raises TimeoutError if it does not come up."""
    with tempfile.TemporaryDirectory(prefix="joined-") as folder:
        pair = Pair(f"{folder}/near", f"{folder}/far")
        ends = [f"pty,raw,echo=0,link={end}" for end in pair]
        process = await asyncio.create_subprocess_exec("socat", *ends)
        try:
            async with asyncio.timeout(_PATIENCE):
                while not (Path(pair.near).exists() and Path(pair.far).exists()):
                    await asyncio.sleep(0.005)
            yield pair
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()
