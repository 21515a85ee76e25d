"""How a page loads in Chromium: when it is ready, how many requests that takes, how many bytes.

load = await first_load(browser, url, ready="document.querySelector('b') !== null", slowed=6)
"""

import asyncio
from typing import Any, NamedTuple

from playwright.async_api import Browser, CDPSession

from tests.benchmarks.measure import median
from tests.browser.chromium import context

OURS = "document.querySelector('body:not(.lost) .strip .worst') !== null"
"""True once our page shows what is."""
_WITHIN_S = 60.0
_COUNTED_S = 0.3
"""So long after it is ready what was transferred is told; what comes in that time counts too."""
_WATCH = """const ready = () => { if (%s) { seen.disconnect(); window.isReady(performance.now()); } };
const seen = new MutationObserver(ready);
addEventListener('DOMContentLoaded', () => { seen.observe(document.documentElement,
    {subtree: true, childList: true, attributes: true, characterData: true}); ready(); });"""


class FirstLoad(NamedTuple):
    """One load with nothing in the cache."""

    ready_ms: float
    requests: int
    """Beside the icon."""
    bytes: float
    """Transferred, heads included, and what came over a web socket."""


async def first_load(browser: Browser, url: str, *, ready: str, slowed: int = 1) -> FirstLoad:
    """Until the expression `ready` is true; `slowed`: so many times slower is Chromium's processor."""
    async with context(browser) as made:
        page = await made.new_page()
        session: CDPSession = await made.new_cdp_session(page)
        sizes: list[float] = []
        requests: list[str] = []
        is_ready: asyncio.Future[float] = asyncio.get_running_loop().create_future()

        def framed(told: dict[str, Any]) -> None:
            sizes.append(len(told["response"]["payloadData"].encode()))

        session.on("Network.dataReceived", lambda told: sizes.append(told["encodedDataLength"]))
        session.on("Network.responseReceived", lambda told: sizes.append(told["response"]["encodedDataLength"]))
        session.on("Network.webSocketFrameReceived", framed)
        session.on("Network.webSocketCreated", lambda told: requests.append(told["url"]))
        page.on("request", lambda request: requests.append(request.url))
        await session.send("Network.enable")
        await session.send("Emulation.setCPUThrottlingRate", {"rate": slowed})

        def said(at_ms: float) -> None:
            is_ready.set_result(at_ms)

        await page.expose_function("isReady", said)
        await page.add_init_script(_WATCH % ready)
        await page.goto(url, wait_until="commit")
        async with asyncio.timeout(_WITHIN_S):
            at_ms = await is_ready
        await asyncio.sleep(_COUNTED_S)
        return FirstLoad(at_ms, sum(not url.endswith("icon.svg") for url in requests), sum(sizes))


async def first_loads(browser: Browser, url: str, runs: int, *, ready: str, slowed: int = 1) -> FirstLoad:
    """So many: median time and bytes, the most requests."""
    loads = [await first_load(browser, url, ready=ready, slowed=slowed) for _ in range(runs)]
    return FirstLoad(
        median([one.ready_ms for one in loads]),
        max(one.requests for one in loads),
        median([one.bytes for one in loads]),
    )
