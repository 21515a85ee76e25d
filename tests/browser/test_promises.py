"""What the page promises on every screen: never stale, nothing by mistake, large enough for a thumb."""

import asyncio

import pytest
from playwright.async_api import Browser, Route, expect

from tests.browser.chromium import DESKTOP, FIRST, PHONE, SCREENS, card, clean, context, logged_in, press, tab, until
from tests.browser.site import PageSite

pytestmark = pytest.mark.asyncio(loop_scope="module")
THUMB_PX = 48
_SMALL = """least => [...document.querySelectorAll('button, summary, select, input, .thumb a, .sheet > a, a.button')]
    .map(one => [one.getBoundingClientRect(), one])
    .filter(([box]) => box.width && Math.min(box.width, box.height) < least)
    .map(([box, one]) => `${box.width} x ${box.height}: ${one.outerHTML.slice(0, 100)}`)"""
_WIDE = """() => [...document.querySelectorAll('main, main .wide')].filter(one => one.scrollWidth > one.clientWidth + 1)
    .map(one => `${one.scrollWidth} > ${one.clientWidth}: ${one.innerText.slice(0, 100)}`)"""
_HIDE = """() => { Object.defineProperty(document, 'hidden', {value: true, configurable: true});
                   document.dispatchEvent(new Event('visibilitychange')); }"""
_INTO_THE_CACHE = "() => dispatchEvent(new PageTransitionEvent('pagehide', {persisted: true}))"
_OUT_OF_THE_CACHE = "() => dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))"
_NO_LOCKS = "Object.defineProperty(Navigator.prototype, 'locks', {value: undefined});"
_COLOURED = """means => [...document.querySelectorAll('body *')].flatMap(one => {
    const style = getComputedStyle(one),
        keys = ['color', 'backgroundColor', 'borderTopColor', 'borderLeftColor', 'fill', 'stroke'];
    const found = keys.filter(key => {
        const parts = (style[key].match(/^rgb[(]([0-9]+), ([0-9]+), ([0-9]+)/) ?? []).slice(1).map(Number);
        return Math.max(...parts) - Math.min(...parts) > 60;
    });
    const counts = found.length && one.getClientRects().length && !one.closest(means);
    return counts ? [`${found}: ${one.outerHTML.slice(0, 120)}`] : [];
})"""
FAULTS = ".fault, .wire, .battery, .disabled, .gateway, .dirty, .tamper, .power, .bad, .BAD, .nothing, .garbled, .cross"
"""What is amber."""
FIRES = ".fire, .silence"
"""What is red."""
NOT_BY_A_TOUCH = {"alarm.reset", "gate.hold", "gate.release", "device.disable", "fire.confirm", "inspection.cancel"}
"""Buttons that are held for 1.5 s."""


def streams(*urls: list[str]) -> int:
    return sum("/events" in url for some in urls for url in some)


# ---- on a phone -------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["zh-CN", "en"])
async def test_on_a_phone_all_is_large_enough_and_nothing_is_scrolled_sideways(
    site: PageSite, browser: Browser, language: str
) -> None:
    site.virtual.set("smoke-3-2f.smoke", 1)
    async with context(browser, PHONE, language) as made:
        look = await logged_in(made, site.base, "wang")
        await card(look, FIRST).wait_for()
        await site.virtual.camera("lpr-north-in").sees("皖K77777", confidence=95, direction="forward")
        for screen in SCREENS:
            await look.go(screen)
            await look.unfold()
            if screen == "lines":
                await look.page.locator("main.lines table").first.wait_for()
            assert await look.page.evaluate(_SMALL, THUMB_PX) == [], screen
            assert await look.page.evaluate(_WIDE) == [], screen
        await look.page.locator(".thumb a.more").click()
        assert await look.page.evaluate(_SMALL, THUMB_PX) == []
        clean(look)


async def test_four_places_are_at_the_thumb(site: PageSite, browser: Browser) -> None:
    async with context(browser, PHONE) as made:
        look = await tab(made, site.base)
        await look.ready()
        places = look.page.locator(".thumb a")
        assert [text.strip() for text in await places.all_inner_texts()] == ["火警", "门", "设备", "更多"]
        boxes = [box for one in await places.all() if (box := await one.bounding_box())]
        assert len(boxes) == 4
        assert all(box["y"] + box["height"] <= PHONE[1] + 1 for box in boxes), "without scrolling"
        clean(look)


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
async def test_every_screen_says_what_this_is_not(site: PageSite, browser: Browser, size: tuple[int, int]) -> None:
    async with context(browser, size) as made:
        look = await logged_in(made, site.base, "wang")
        for screen in SCREENS:
            await look.go(screen)
            await expect(look.page.locator("footer")).to_contain_text("本产品不是火灾报警控制器")
            await expect(look.page.locator("footer")).to_contain_text("119")
        clean(look)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_only_fires_and_faults_are_coloured_and_their_shapes_and_words_say_the_same(
    site: PageSite, browser: Browser, dark: bool
) -> None:
    site.virtual.set("hydrant-1.pressure", 0.05)
    async with context(browser, dark=dark) as made:
        look = await logged_in(made, site.base, "wang")
        await card(look, "hydrant-1/pressure/low").wait_for(timeout=40_000)
        await expect(look.page.locator(".strip .worst")).to_have_text("◆ 报警")
        await expect(card(look, "hydrant-1/pressure/low").locator("h3 > span")).to_have_text("◆")
        for screen in SCREENS:
            await look.go(screen)
            assert await look.page.evaluate(_COLOURED, f"{FAULTS}, {FIRES}") == [], screen
        site.virtual.set("smoke-3-2f.smoke", 1)
        await look.go("overview")
        await expect(look.page.locator(".strip .worst")).to_have_text("▲ 火警")
        await expect(card(look, FIRST).locator("h3 > span")).to_have_text("▲")
        assert await look.page.evaluate(_COLOURED, FAULTS) != []
        clean(look)


# ---- never stale ------------------------------------------------------------------------------------


async def test_a_page_that_comes_back_from_the_cache_shows_what_was_until_it_knows(
    site: PageSite, browser: Browser
) -> None:
    async with context(browser) as made:
        look = await tab(made, site.base)
        await look.ready()
        await look.page.evaluate(_INTO_THE_CACHE)
        await look.lost(2000)
        await expect(look.page.locator(".band")).to_contain_text("失去连接，以下是")
        site.virtual.set("smoke-3-2f.smoke", 1)
        await look.page.evaluate(_OUT_OF_THE_CACHE)
        await look.ready()
        await card(look, FIRST).wait_for()
        assert streams(look.requests) == 2
        clean(look)


async def test_a_hidden_tab_whose_sound_is_armed_listens_on_and_sounds(site: PageSite, browser: Browser) -> None:
    async with context(browser) as made:
        look = await logged_in(made, site.base, "zhang")
        await expect(look.page.locator(".signs")).to_contain_text("声音已开")
        before = streams(look.requests)
        await look.page.evaluate(_HIDE)
        site.virtual.set("smoke-3-2f.smoke", 1)
        await expect(look.page.locator("body")).to_have_attribute("data-ringing", "yes")
        assert await look.page.locator("body.lost").count() == 0
        assert streams(look.requests) == before
        clean(look)


async def test_without_web_locks_each_tab_reads_for_itself(site: PageSite, browser: Browser) -> None:
    """Over plain HTTP from another machine there are none."""
    async with context(browser) as made:
        await made.add_init_script(_NO_LOCKS)
        looks = [await tab(made, site.base) for _ in range(2)]
        for look in looks:
            await look.ready()
            assert streams(look.requests) == 1
        site.virtual.set("smoke-3-2f.smoke", 1)
        for look in looks:
            await card(look, FIRST).wait_for()
            clean(look)


# ---- presses ----------------------------------------------------------------------------------------


async def test_a_button_says_that_it_is_under_way_and_then_what_became_of_it(site: PageSite, browser: Browser) -> None:
    async with context(browser) as made:
        look = await logged_in(made, site.base, "zhang", "gates")
        on = asyncio.Event()

        async def hold_back(route: Route) -> None:
            await on.wait()
            await route.continue_()

        await made.route("**/do", hold_back)
        gate = look.page.locator("[data-gate='north-in']")
        opens = press(gate, "gate.open").first
        await expect(gate).to_contain_text("关闭")
        before = site.opened()
        await opens.click()
        await expect(opens).to_have_text("执行中…")
        await expect(opens).to_be_disabled()
        on.set()
        await expect(opens).to_have_text("✓ 已完成")
        await until(lambda: site.opened() == before + 1)
        await expect(opens).to_have_text("访客")
        told = await look.page.evaluate("() => fetch('/audit?cmd=gate.open').then(told => told.json())")
        data = told["events"][0]["data"]
        assert (data["sub"], data["args"]["reason"]) == ("zhang", "访客"), "the press is the reason"
        clean(look)


async def test_a_refusal_is_told_in_the_words_of_the_guard(site: PageSite, browser: Browser) -> None:
    site.virtual.set("smoke-3-2f.smoke", 1)
    async with context(browser) as made:
        look = await logged_in(made, site.base, "wang", "devices")
        smoke = look.page.locator("[data-device='smoke-3-2f']")
        await expect(smoke).to_contain_text("报警")
        await smoke.locator("summary").first.click()
        await smoke.locator("details.table").wait_for()
        await look.hold(press(smoke, "device.disable"))
        await expect(smoke.locator(".problem")).to_have_text("⚠ 设备正在报火警，不能停用")
        await look.language()
        await expect(smoke.locator(".problem")).to_have_count(0, timeout=15_000)
        await look.hold(press(smoke, "device.disable"))
        await expect(smoke.locator(".problem")).to_have_text("⚠ The device is in fire")
        clean(look)


async def test_a_fire_is_confirmed_at_its_card_and_what_moves_much_is_never_done_by_a_touch(
    site: PageSite, browser: Browser
) -> None:
    site.virtual.set("smoke-3-2f.smoke", 1)
    async with context(browser) as made:
        look = await logged_in(made, site.base, "wang")
        fire = card(look, FIRST)
        confirm = press(fire, "fire.confirm")
        await confirm.click()
        assert not [url for url in look.requests if url.endswith("/do")]
        await look.hold(confirm)
        held = look.page.locator(".aside article.gate")
        await expect(held).to_have_count(2)
        shown: set[str] = set()

        async def touchable() -> set[str]:
            found = await look.page.locator("[data-cmd]").evaluate_all(
                "all => all.map(one => [one.dataset.cmd, one.classList.contains('hold')])"
            )
            shown.update(cmd for cmd, _ in found)
            return {cmd for cmd, is_held in found if not is_held}

        for screen in ("overview", "gates", "devices", "rounds"):
            await look.go(screen)
            await look.unfold()
            assert not await touchable() & NOT_BY_A_TOUCH, screen
        site.virtual.set("smoke-3-2f.smoke", 0)
        await look.go("overview")
        for one in await look.page.locator("article.fire").all():
            await look.hold(press(one, "alarm.reset"))
        await look.go("gates")
        release = press(look.page.locator("[data-gate='north-in']"), "gate.release", "火警后释放")
        await release.wait_for()
        assert not await touchable() & NOT_BY_A_TOUCH
        assert shown >= NOT_BY_A_TOUCH - {"inspection.cancel"}
        clean(look)
