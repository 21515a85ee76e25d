"""How soon the page of 1,000 points is ready in Chromium, as it is and slowed six times, and what it costs to load."""

from pathlib import Path

from playwright.async_api import Browser, CDPSession

from tests.benchmarks.measure import median, program
from tests.benchmarks.test_site_of_forty import site
from tests.browser.chromium import chromium, context
from tests.end_to_end.browsing import listening
from tests.end_to_end.process import running
from tests.mosquitto import free_port, mosquitto

RUNS = 9
READY = "body:not(.lost) .strip .worst"
_WATCH = f"""const seen = new MutationObserver(() => {{
    if (document.querySelector('{READY}')) {{ window.readyAt ??= performance.now(); seen.disconnect(); }} }});
addEventListener('DOMContentLoaded', () => seen.observe(document.documentElement,
    {{subtree: true, childList: true, attributes: true}}));"""


async def test_the_first_load_of_a_thousand_points(tmp_path: Path) -> None:
    port = free_port()
    async with (
        mosquitto(tmp_path) as broker,
        program("tests.benchmarks.registers", "moving", 40, reads=True) as (_, line),
    ):
        path = tmp_path / "site.yaml"
        text = site(broker.port, line.split(), tmp_path / "store")
        path.write_text(f"{text}http: {{status: {{listen: '127.0.0.1:{port}'}}}}\n")
        async with running(path), chromium() as browser:
            base = f"http://127.0.0.1:{port}"
            await listening(base)
            loads = [await load(browser, base, slowed=1) for _ in range(RUNS)]
            slowed = [await load(browser, base, slowed=6) for _ in range(RUNS)]
    ready, requests, size = (
        median([one[0] for one in loads]),
        max(one[1] for one in loads),
        max(one[2] for one in loads),
    )
    slow = median([one[0] for one in slowed])
    print(  # noqa: T201
        f"\nfirst load of 1,000 points: {requests} requests and the icon, {size / 1000:.1f} kB; "
        f"ready in {ready:.0f} ms, with Chromium slowed 6x in {slow:.0f} ms"
    )
    assert requests <= 12
    assert size <= 60_000
    assert ready <= 300
    assert slow <= 1200


async def load(browser: Browser, base: str, slowed: int) -> tuple[float, int, float]:
    """Milliseconds until it shows what is, requests beside the icon, and bytes transferred, heads included."""
    async with context(browser) as made:
        page = await made.new_page()
        session: CDPSession = await made.new_cdp_session(page)
        sizes: list[float] = []
        requests: list[str] = []
        session.on("Network.dataReceived", lambda told: sizes.append(told["encodedDataLength"]))
        session.on("Network.responseReceived", lambda told: sizes.append(told["response"]["encodedDataLength"]))
        page.on("request", lambda request: requests.append(request.url))
        await session.send("Network.enable")
        await session.send("Emulation.setCPUThrottlingRate", {"rate": slowed})
        await page.add_init_script(_WATCH)
        await page.goto(base)
        await page.locator(READY).wait_for()
        return (
            float(await page.evaluate("window.readyAt")),
            sum(not url.endswith("/icon.svg") for url in requests),
            sum(sizes),
        )
