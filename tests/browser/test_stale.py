"""The link is cut: on every screen and in every dialog nothing can be pressed, and nothing moves when it returns."""

import pytest
from playwright.async_api import Browser, expect

from tests.browser.chromium import DESKTOP, HELD_MS, PHONE, SCREENS, Look, card, context, logged_in, press, tab
from tests.browser.site import PageSite

pytestmark = pytest.mark.asyncio(loop_scope="module")
SIZES = pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
QUIET = ".silence, .signs button"
"""The sound of this page alone: it moves nothing at the site, and nobody is to listen to it without an end."""
_PRESS_ALL = """() => { for (const one of document.querySelectorAll('button, a.button, input, select, summary')) {
    one.click(); one.dispatchEvent(new PointerEvent('pointerdown', {bubbles: true})); } }"""


async def enabled(look: Look) -> list[str]:
    """What can still be pressed, but the sound."""
    found = look.page.locator(f"button:enabled:not({QUIET}), input:enabled, select:enabled")
    told: list[str] = await found.evaluate_all("all => all.map(one => one.outerHTML.slice(0, 120))")
    return told


@SIZES
async def test_on_every_screen_every_button_is_dead_and_nothing_moves(
    site: PageSite, browser: Browser, size: tuple[int, int]
) -> None:
    site.virtual.set("smoke-3-2f.smoke", 1)
    async with context(browser, size) as made:
        look = await tab(made, site.cuttable)
        await look.ready()
        await look.log_in("wang")
        await card(look, "smoke-3-2f/smoke/fire").wait_for()
        for screen in SCREENS:
            await look.go(screen)
            await look.unfold()
            assert await enabled(look) != [], f"{screen} is alive before"
        written, asked = len(site.virtual.writes), len(look.requests)
        site.way.stall()
        await look.lost()
        await expect(look.page.locator(".band")).to_contain_text("失去连接，以下是")
        for screen in SCREENS:
            await look.go(screen)
            await look.unfold()
            await expect(look.page.locator(".band")).to_be_visible()
            assert await look.page.locator("main").evaluate("one => getComputedStyle(one).filter") == "grayscale(1)"
            assert await enabled(look) == [], screen
            await look.page.evaluate(_PRESS_ALL)
        site.way.refuse()
        site.way.cut()
        site.way.restore()
        await look.ready()
        assert [url for url in look.requests[asked:] if url.endswith(("/do", "/login", "/logout"))] == []
        assert len(site.virtual.writes) == written


async def test_the_login_is_dead_too_and_what_was_written_in_it_stays(site: PageSite, browser: Browser) -> None:
    async with context(browser) as made:
        look = await tab(made, site.cuttable)
        await look.ready()
        await look.page.locator("button.login:visible").click()
        await look.page.locator("input[name=name]").fill("zhang")
        site.way.stall()
        await look.lost()
        assert await enabled(look) == []
        await look.page.evaluate(_PRESS_ALL)
        site.way.refuse()
        site.way.cut()
        site.way.restore()
        await look.ready()
        await expect(look.page.locator("input[name=name]")).to_have_value("zhang")
        assert not [url for url in look.requests if url.endswith("/login")]


async def test_a_held_button_that_goes_dead_under_the_thumb_does_nothing(site: PageSite, browser: Browser) -> None:
    """The link is lost between the beginning and the end of the 1.5 s."""
    async with context(browser, PHONE) as made:
        look = await logged_in(made, site.base, "wang", "devices")
        smoke = look.page.locator("[data-device='smoke-3-2f']")
        await smoke.locator("summary").first.click()
        disable = press(smoke, "device.disable")
        await disable.scroll_into_view_if_needed()
        await expect(disable).to_be_enabled()
        await disable.hover()
        await look.page.mouse.down()
        await look.page.evaluate("() => dispatchEvent(new Event('offline'))")
        await look.lost()
        await look.page.wait_for_timeout(HELD_MS)
        await look.page.mouse.up()
        assert not [url for url in look.requests if url.endswith("/do")]
        await look.page.evaluate("() => dispatchEvent(new Event('online'))")
        await look.ready()
        await expect(disable).to_be_enabled()
        assert not [url for url in look.requests if url.endswith("/do")]
