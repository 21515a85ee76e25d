"""A press moves what it was meant for: no second tap, nothing that has just come under the finger; and sounds."""

import pytest
from playwright.async_api import Browser, expect

from tests.browser.chromium import FIRST, PHONE, SECOND, Look, card, clean, context, logged_in, press, tab
from tests.browser.site import PageSite

pytestmark = pytest.mark.asyncio(loop_scope="module")
_TWO_TAPS = "(one, other) => { one.click(); other.click(); }"
_TAP_WHEN_IT_COMES = """(one, subject) => new MutationObserver((_, observer) => {
    if (!document.querySelector(`[data-alarm='${subject}']`)) return;
    observer.disconnect();
    one.click();
}).observe(document.body, {childList: true, subtree: true})"""
_TOP = "one => one.getBoundingClientRect().top"
_CLOCK = "const real = Date.now; window.back = 0; Date.now = () => real() - window.back;"
_LONG_HIDDEN = """const real = window.setInterval; window.setInterval = (call, ms) => real(call, Math.max(ms, 60000));
window.tones = [];
window.OscillatorNode = class extends OscillatorNode {
    constructor(context, options) { super(context, options); window.tones.push(options.frequency); }
};"""
"""Timers as in a tab that has been hidden for five minutes; what it plays is written down."""


def sent(look: Look) -> int:
    """How many commands were asked for."""
    return sum(url.endswith("/do") for url in look.requests)


async def test_the_second_tap_of_two_presses_nothing(site: PageSite, browser: Browser) -> None:
    async with context(browser, PHONE) as made:
        look = await logged_in(made, site.base, "zhang")
        site.virtual.set("smoke-3-2f.smoke", 1)
        fire = card(look, FIRST)
        known, real = press(fire, "alarm.acknowledge"), press(fire, "alarm.verify", "真")
        await expect(real).to_be_enabled()
        await known.evaluate(_TWO_TAPS, await real.element_handle())
        await expect(known).to_have_count(0)
        await real.click()
        await expect(fire).to_contain_text("真实火情")
        assert sent(look) == 2, "acknowledged, and then verified by a press of its own"
        await look.go("gates")
        gate = look.page.locator("[data-gate='north-in']")
        visitor = gate.locator("button[data-cmd='gate.open']").first
        await visitor.click()
        await expect(visitor).to_contain_text("已完成")
        await expect(visitor).to_be_disabled()
        await expect(visitor).to_contain_text("访客")
        assert sent(look) == 3
        await press(gate, "gate.hold").click()
        assert await gate.locator(".problem").count() == 0
        await look.hold(press(gate, "gate.hold"))
        await expect(gate).to_contain_text("值班人员")
        assert sent(look) == 4, "only holding the button holds the gate"
        clean(look)


async def test_a_button_that_has_just_moved_or_come_takes_no_press(site: PageSite, browser: Browser) -> None:
    async with context(browser, PHONE) as made:
        look = await logged_in(made, site.base, "zhang")
        begins = await look.page.locator("main").evaluate(_TOP)
        for subject in (FIRST, SECOND):
            site.virtual.set(f"{subject.partition('/')[0]}.smoke", 1)
            await card(look, subject).wait_for()
        await look.page.locator("button.silence").wait_for()
        assert await look.page.locator("main").evaluate(_TOP) == begins, "its place was kept"
        known = press(card(look, SECOND), "alarm.acknowledge")
        await expect(known).to_be_enabled()
        await known.evaluate(_TAP_WHEN_IT_COMES, heat := "heat-garage/heat/fire")
        site.virtual.set("heat-garage.heat", 1)
        await card(look, heat).wait_for()
        await expect(look.page.locator(".hint")).to_have_text("刚刚移动，请再按一次")
        assert sent(look) == 0
        await known.click()
        await expect(known).to_have_count(0)
        await expect(look.page.locator(".hint")).to_have_count(0)
        assert sent(look) == 1
        clean(look)


async def test_a_clock_that_is_set_back_hides_no_lost_link(site: PageSite, browser: Browser) -> None:
    async with context(browser) as made:
        await made.add_init_script(_CLOCK)
        look = await tab(made, site.cuttable)
        await look.ready()
        site.way.stall()
        await look.page.evaluate("() => { window.back = 3600000; }")
        await look.lost()
        site.way.cut()
        site.way.restore()
        await look.ready()


async def test_a_link_with_a_used_code_says_so(site: PageSite, browser: Browser) -> None:
    async with context(browser, PHONE) as made:
        look = await tab(made, f"{site.base}/#code=used-up")
        await look.ready()
        await expect(look.page.locator(".loginform .problem")).to_be_visible()
        await expect(look.page.locator(".loginform input[name=name]")).to_be_visible()


async def test_the_record_of_a_walk_names_who_began_it_and_is_not_lost_by_one_press(
    site: PageSite, browser: Browser
) -> None:
    async with context(browser) as made:
        look = await logged_in(made, site.base, "wang", "walk")
        await look.page.locator("select").select_option("garage")
        walk = press(look.page, "zone.test")
        await walk.click()
        await expect(walk).to_contain_text("开始走查")
        assert sent(look) == 0, "a short press begins nothing"
        await look.hold(walk)
        await expect(walk).to_contain_text("结束走查")
        await walk.click()
        site.virtual.set("heat-garage.heat", 1)
        await look.page.locator("li.tested[data-device='heat-garage']").wait_for()
        record = look.page.locator(".record")
        await expect(record).to_contain_text("未结束")
        assert sent(look) == 1, "nor does it end it"
        await look.hold(walk)
        await expect(record).not_to_contain_text("未结束")
        await expect(walk).to_have_count(0)
        await look.page.locator("button", has_text="重新走查").click()
        await expect(look.page.locator("main.walk .problem")).to_contain_text("地下车库")
        await expect(walk).to_contain_text("开始走查")
        await look.page.locator("button", has_text="保留结果").click()
        await expect(walk).to_have_count(0)
        await look.page.locator(".person:visible button", has_text="退出").click()
        await look.page.locator("button.login:visible").wait_for()
        await look.log_in("li")
        await look.go("walk")
        await expect(record).to_contain_text("wang")
        assert "li" not in (await record.inner_text()).split()


async def test_a_fire_sounds_as_its_news_arrives_and_so_does_a_lost_link(site: PageSite, browser: Browser) -> None:
    async with context(browser) as made:
        await made.add_init_script(_LONG_HIDDEN)
        look = await tab(made, site.cuttable)
        await look.ready()
        await look.log_in("zhang")
        site.virtual.set("smoke-3-2f.smoke", 1)
        await look.page.wait_for_function("() => window.tones.includes(880)")
        await expect(look.page.locator("body")).to_have_attribute("data-ringing", "yes")
        assert 520 not in await look.page.evaluate("() => window.tones"), "a login is no loss"
        site.way.refuse()
        site.way.cut()
        await look.page.wait_for_function("() => window.tones.includes(520)")
        site.way.restore()
        await look.ready()
        assert (await look.page.evaluate("() => window.tones")).count(520) == 1
