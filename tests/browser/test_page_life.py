"""A page that stays open: persons come and go, the gateway is upgraded, and something cannot be read for a while."""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext, Route, expect

from tests.browser.chromium import Look, clean, context, logged_in, tab, until
from tests.browser.site import PageSite

pytestmark = pytest.mark.asyncio(loop_scope="module")
STATIC = Path(__file__).parent.parent.parent / "gateway" / "local" / "static"
OLD = "0123456789abcdef"
_KNOWN = "Failed to load resource"
"""What the browser itself says of an answer that is an error."""


def busy(code: int = 503) -> Callable[[Route], Awaitable[None]]:
    """A gateway whose store cannot be asked now."""

    async def answer(route: Route) -> None:
        await route.fulfill(status=code, json={"ok": False, "error": {"code": "busy", "message": "the store is busy"}})

    return answer


_A_NOTE = """document.addEventListener('DOMContentLoaded', () =>
    document.body.after(Object.assign(document.createElement('input'), {value: 'a note'})));"""
"""A field that somebody has written into."""

# ---- who comes next ---------------------------------------------------------------------------------


async def test_a_session_that_ends_takes_what_it_has_read_along(site: PageSite, browser: Browser) -> None:
    async with context(browser) as made:
        look = await logged_in(made, site.base, "zhang", "log")
        rows = look.page.locator("main.log tbody tr")
        await rows.first.wait_for()
        await made.clear_cookies()
        assert (await look.page.evaluate("() => fetch('/me').then(told => told.json())")).get("name") is None
        await look.page.evaluate("() => dispatchEvent(new Event('online'))")
        await look.page.locator("main.overview").wait_for()
        await expect(rows).to_have_count(0)
        await expect(look.page.locator("a[href='#log']")).to_have_count(0)
        clean(look)


async def test_the_plates_that_one_has_looked_at_are_hidden_from_the_next(site: PageSite, browser: Browser) -> None:
    async with context(browser) as made:
        look = await logged_in(made, site.base, "li", "gates")
        await site.virtual.camera("lpr-north-in").sees("沪A12345", confidence=97, direction="forward")
        row = look.page.locator(".passages tbody tr").first
        await row.locator("button").click()
        await expect(row.locator(".plate")).to_have_text("沪A12345")
        await look.page.locator("details.presence summary").click()
        await look.page.locator("input[name=plate]").fill("沪B00001")
        await look.page.locator(".person:visible button", has_text="退出").click()
        await look.page.locator("button.login:visible").wait_for()
        await expect(look.page.locator(".plate")).to_have_count(0)
        await look.log_in("wang")
        await expect(row.locator("button")).to_have_text("查看车牌和照片")
        await expect(look.page.locator(".plate")).to_have_count(0)
        await expect(look.page.locator("input[name=plate]")).to_have_value("")
        clean(look)


# ---- what cannot be read ----------------------------------------------------------------------------


async def test_a_log_that_cannot_be_read_is_not_empty(site: PageSite, browser: Browser) -> None:
    async with context(browser) as made:
        await made.route("**/audit?**", busy())
        look = await logged_in(made, site.base, "zhang", "log")
        await expect(look.page.locator("main.log .problem")).to_contain_text("网关忙")
        await expect(look.page.locator("main.log")).not_to_contain_text("没有记录")
        await made.unroute("**/audit?**")
        await look.page.locator("main.log .again").click()
        await look.page.locator("main.log tbody tr").first.wait_for()
        await expect(look.page.locator("main.log .problem")).to_have_count(0)
        clean(look, _KNOWN)


async def test_a_passage_and_a_picture_that_cannot_be_read_are_not_absent(site: PageSite, browser: Browser) -> None:
    async with context(browser) as made:
        await made.route("**/passages?**", busy())
        await made.route("**/pictures/**", busy())
        look = await logged_in(made, site.base, "zhang", "gates")
        await site.virtual.camera("lpr-north-in").sees("沪A12345", confidence=97, direction="forward")
        row = look.page.locator(".passages tbody tr").first
        await row.locator("button").click()
        await expect(row.locator(".problem")).to_contain_text("网关忙")
        await expect(row).not_to_contain_text("无牌")
        await made.unroute("**/passages?**")
        await row.locator(".again").click()
        await expect(row.locator(".plate")).to_have_text("沪A12345")
        await expect(row.locator(".problem")).to_contain_text("网关忙")
        await expect(row).not_to_contain_text("没有照片")
        await made.unroute("**/pictures/**")
        await row.locator(".again").click()
        await row.locator("img").wait_for()
        clean(look, _KNOWN)


async def test_values_and_runs_that_cannot_be_read_are_not_absent(site: PageSite, browser: Browser) -> None:
    async with context(browser) as made:
        await made.route("**/history?**", busy())
        await made.route("**/rounds?**", busy())
        look = await logged_in(made, site.base, "zhang", "devices")
        tank = look.page.locator("[data-device='tank']")
        await tank.locator("summary").first.click()
        await tank.locator("[data-point] button").first.click()
        await expect(tank.locator(".problem")).to_contain_text("网关忙")
        await expect(tank).not_to_contain_text("没有保存的数值")
        await made.unroute("**/history?**")
        await tank.locator(".again").click()
        await tank.locator(".uplot canvas").wait_for()
        await look.go("rounds")
        await expect(look.page.locator("main.rounds .problem")).to_contain_text("网关忙")
        await made.unroute("**/rounds?**")
        await look.page.locator("main.rounds .again").click()
        await expect(look.page.locator("main.rounds .problem")).to_have_count(0)
        clean(look, _KNOWN)


# ---- the gateway is upgraded ------------------------------------------------------------------------


async def old_page(made: BrowserContext) -> None:
    """The first load gets the files of a version before; after that there are only those of the gateway."""
    loads: list[str] = []

    async def index(route: Route) -> None:
        loads.append(route.request.url)
        response = await route.fetch()
        text = await response.text()
        if len(loads) == 1:
            text = re.sub(r"/static/[0-9a-f]+", f"/static/{OLD}", text)
        await route.fulfill(response=response, body=text)

    async def file(route: Route) -> None:
        name = route.request.url.partition(f"/static/{OLD}/")[2]
        if name in ("box.js", "log.js", "gates.js"):
            await route.continue_()  # it was not loaded while the version before ran
        else:
            await route.fulfill(path=STATIC / name)

    await made.route(re.compile(r"^http://[^/]+/(#.*)?$"), index)
    await made.route(f"**/static/{OLD}/**", file)


def from_old(look: Look, name: str) -> int:
    return sum(url.endswith(f"/static/{OLD}/{name}") for url in look.requests)


async def test_a_page_of_the_version_before_loads_itself_anew(site: PageSite, browser: Browser) -> None:
    async with context(browser) as made:
        await old_page(made)
        look = await tab(made, site.base)
        await until(lambda: any("/page.js" in url and OLD not in url for url in look.requests))
        await look.ready()
        await look.go("box")
        assert from_old(look, "page.js") == 1
        assert sum(url.endswith("/page.js") for url in look.requests) == 2, "once"
        clean(look)


async def test_it_does_not_while_somebody_writes_and_a_screen_that_is_gone_is_asked_for_once(
    site: PageSite, browser: Browser
) -> None:
    async with context(browser) as made:
        await old_page(made)
        await made.add_init_script(_A_NOTE)
        look = await tab(made, site.base)
        await look.ready()
        await expect(look.page.locator(".band.upgraded")).to_contain_text("网关已升级")
        await look.page.locator("a[href='#box']:visible").click()
        await look.page.locator("main .problem").wait_for()
        beats = len(look.requests)
        await look.page.wait_for_function("() => document.querySelector('.now').textContent.endsWith('5')")
        await look.page.wait_for_function("() => document.querySelector('.now').textContent.endsWith('1')")
        assert from_old(look, "box.js") == 1, look.requests[beats:]
        await look.page.evaluate("() => { document.documentElement.lastElementChild.value = ''; }")
        await until(lambda: any("/page.js" in url and OLD not in url for url in look.requests))
        await look.page.locator("main.box").wait_for()
        clean(look, _KNOWN, "Failed to fetch")
