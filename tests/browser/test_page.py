"""The page in Chromium, against a real gateway on the simulated example site: what a guard sees, hears and does."""

import asyncio
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.browser.chromium import (
    DESKTOP,
    FIRST,
    PHONE,
    SCREENS,
    SECOND,
    SIZES,
    Look,
    card,
    clean,
    context,
    logged_in,
    press,
    tab,
    until,
)
from tests.browser.site import PageSite

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_the_first_load_is_small(site: PageSite, browser: Browser) -> None:
    async with context(browser) as made:
        session = await made.new_cdp_session(page := await made.new_page())
        await session.send("Network.enable")
        sizes: list[float] = []
        session.on("Network.dataReceived", lambda told: sizes.append(told["encodedDataLength"]))
        look = Look(page, site.base).begin()
        await page.goto(site.base)
        await look.ready()
        await page.wait_for_timeout(500)
        loads = [url for url in look.requests if not url.endswith("/icon.svg")]
        print(f"first load: {len(loads)} requests and the icon, {sum(sizes) / 1000:.1f} kB in bodies")  # noqa: T201 - a figure of the report
        assert len(loads) <= 12, loads
        assert sum(sizes) <= 60_000
        clean(look)


@SIZES
async def test_a_fire_is_seen_heard_acknowledged_verified_reset_and_the_gate_released(
    site: PageSite, browser: Browser, size: tuple[int, int], language: str
) -> None:
    chinese = language == "zh-CN"
    async with context(browser, size, language) as made:
        look = await tab(made, site.base)
        await look.ready()
        await expect(look.page.locator(".signs")).to_contain_text("无声" if chinese else "Silent")
        await look.log_in("zhang")
        await expect(look.page.locator(".signs")).to_contain_text("声音已开" if chinese else "Sound on")
        for device in ("smoke-3-2f", "smoke-3-3f"):
            site.virtual.set(f"{device}.smoke", 1)
            await card(look, f"{device}/smoke/fire").wait_for()
        await expect(look.page.locator(".strip.fire .worst")).to_contain_text("火警" if chinese else "FIRE")
        await expect(look.page.locator("[data-count=fire] b")).to_have_text("2")
        assert await look.page.locator("article.fire").first.get_attribute("data-alarm") == FIRST, "the first-out"
        await expect(card(look, FIRST)).to_contain_text("首报" if chinese else "First")
        await expect(look.page.locator("body")).to_have_attribute("data-ringing", "yes")
        await look.page.locator("button.silence").click()
        await expect(look.page.locator("body")).to_have_attribute("data-ringing", "no")
        held = look.page.locator(".aside article.gate")
        await expect(held).to_have_count(2)
        await expect(held.first).to_contain_text("火警联动" if chinese else "fire linkage")
        for subject in (FIRST, SECOND):
            await press(card(look, subject), "alarm.acknowledge").click()
            await expect(press(card(look, subject), "alarm.acknowledge")).to_have_count(0)
            await press(card(look, subject), "alarm.verify", "误" if chinese else "False").click()
            await expect(card(look, subject)).to_contain_text("误报" if chinese else "false alarm")
        reset = press(card(look, FIRST), "alarm.reset")
        await reset.click()
        await expect(reset).to_be_enabled()
        assert await card(look, FIRST).locator(".problem").count() == 0, "a short press does nothing"
        for device in ("smoke-3-2f", "smoke-3-3f"):
            site.virtual.set(f"{device}.smoke", 0)
            await expect(card(look, f"{device}/smoke/fire")).to_contain_text("待复位" if chinese else "to be reset")
            await look.hold(press(card(look, f"{device}/smoke/fire"), "alarm.reset"))
            await expect(card(look, f"{device}/smoke/fire")).to_have_count(0)
        await look.go("gates")
        for gate in ("north-in", "north-out"):
            where = look.page.locator(f"[data-gate='{gate}']")
            release = press(where, "gate.release")
            await expect(release).to_contain_text("火警后释放" if chinese else "Release after")
            await look.hold(release)
            await expect(where).to_contain_text("无指令" if chinese else "idle")
        clean(look)


@SIZES
async def test_a_denied_car_is_let_in_by_one_press(
    site: PageSite, browser: Browser, size: tuple[int, int], language: str
) -> None:
    plate = f"皖K543{size[0] % 10}{len(language)}"
    async with context(browser, size, language) as made:
        look = await logged_in(made, site.base, "zhang", "gates")
        before = site.opened()
        await site.virtual.camera("lpr-north-in").sees(plate, confidence=95, direction="forward")
        large = look.page.locator("article.denied")
        await large.wait_for()
        await expect(large).to_contain_text("不在名单中" if language == "zh-CN" else "not on the list")
        await expect(large.locator(".plate")).to_have_text(plate)
        await expect(large.locator("img")).to_be_visible()
        await press(large, "gate.open", "访客" if language == "zh-CN" else "Visitor").click()
        await until(lambda: site.opened() == before + 1)
        await large.wait_for(state="detached")
        clean(look)


async def test_a_gate_is_held_and_released_by_people(site: PageSite, browser: Browser) -> None:
    async with context(browser) as made:
        look = await logged_in(made, site.base, "zhang", "gates")
        gate = look.page.locator("[data-gate='north-out']")
        await look.hold(press(gate, "gate.hold"))
        await expect(gate).to_contain_text("值班人员")
        await until(lambda: site.it.on("relay-north.do4"))
        await look.hold(press(gate, "gate.release"))
        await until(lambda: not site.it.on("relay-north.do4"))
        await expect(gate).to_contain_text("无指令")
        clean(look)


async def test_who_is_not_logged_in_looks_and_presses_nothing(site: PageSite, browser: Browser) -> None:
    async with context(browser) as made:
        look = await tab(made, site.base)
        await look.ready()
        await look.go("gates")
        assert await look.page.locator("[data-cmd]").count() == 0
        assert await look.page.locator(".plate, .looked button").count() == 0
        clean(look)


@SIZES
async def test_the_link_is_cut_in_mid_press_and_nothing_moves_when_it_returns(
    site: PageSite, browser: Browser, size: tuple[int, int], language: str
) -> None:
    chinese = language == "zh-CN"
    async with context(browser, size, language) as made:
        look = await tab(made, site.cuttable)
        await look.ready()
        await look.log_in("zhang")
        await look.go("gates")
        gate = look.page.locator("[data-gate='north-in']")
        before = site.opened()
        site.way.stall()
        await press(gate, "gate.open", "访客" if chinese else "Visitor").click()
        await expect(press(gate, "gate.open").first).to_be_disabled()
        await look.lost()
        assert await look.page.locator("main button:enabled").count() == 0, "every button is dead"
        await expect(look.page.locator(".band")).to_contain_text(
            "失去连接，以下是" if chinese else "Connection lost: this is the state of"
        )
        site.way.refuse()
        site.way.cut()
        await expect(gate.locator(".problem")).to_contain_text("没有收到结果" if chinese else "No answer came")
        site.way.restore()
        await look.ready()
        await look.page.wait_for_timeout(1500)
        assert site.opened() == before
        await press(gate, "gate.open", "快递" if chinese else "Delivery").click()
        await until(lambda: site.opened() == before + 1)


async def test_a_gateway_that_is_killed_leaves_the_page_honest_and_logged_in(site: PageSite, browser: Browser) -> None:
    async with context(browser) as made:
        look = await logged_in(made, site.base, "zhang", "gates")
        await site.gateway.kill()
        await look.lost()
        assert await look.page.locator("main button:enabled").count() == 0
        await site.gateway.start()
        await look.ready()
        await expect(look.page.locator(".person").first).to_contain_text("zhang")
        gate = look.page.locator("[data-gate='north-out']")
        await expect(press(gate, "gate.open").first).to_be_enabled()
        before = site.opened("relay-north.do3")
        await press(gate, "gate.open", "其他").click()
        await until(lambda: site.opened("relay-north.do3") == before + 1)
        clean(
            look, "ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_EMPTY_RESPONSE", "CONNECTION_RESET"
        )


async def test_eight_tabs_show_the_same(site: PageSite, browser: Browser) -> None:
    async with context(browser) as made:
        looks = [await tab(made, site.base) for _ in range(8)]
        for look in looks:
            await look.ready()
        assert sum("/events" in url for look in looks for url in look.requests) == 1, "one tab reads for all"
        site.virtual.set("smoke-3-2f.smoke", 1)
        for look in looks:
            await card(look, FIRST).wait_for()
        await looks[0].page.close()
        for look in looks[1:]:
            await look.ready()
        await looks[7].log_in("zhang")
        await expect(looks[3].page.locator(".person").first).to_contain_text("zhang")
        site.virtual.set("smoke-3-2f.smoke", 0)
        await expect(card(looks[5], FIRST)).to_contain_text("待复位")
        assert (await site.it.person("alarm.reset", alarm=FIRST))["ok"]
        await expect(card(looks[2], FIRST)).to_have_count(0)
        clean(looks[2])


async def test_a_hidden_tab_gives_its_stream_back_and_is_current_when_it_returns(
    site: PageSite, browser: Browser
) -> None:
    async with context(browser) as made:
        look = await tab(made, site.base)
        await look.ready()
        await look.page.evaluate(_HIDE)
        await look.lost(2000)
        await look.page.evaluate(_SHOW)
        await look.ready()
        assert sum("/events" in url for url in look.requests) == 2


_HIDE = """() => { Object.defineProperty(document, 'hidden', {value: true, configurable: true});
                   document.dispatchEvent(new Event('visibilitychange')); }"""
_SHOW = """() => { delete document.hidden; document.dispatchEvent(new Event('visibilitychange')); }"""


async def test_devices_show_what_is_not_good_first_and_plot_what_is_kept(site: PageSite, browser: Browser) -> None:
    async with context(browser) as made:
        look = await logged_in(made, site.base, "wang", "devices")
        site.virtual.silence("climate-garage")
        try:
            silent = look.page.locator("[data-device='climate-garage']")
            await expect(silent).to_contain_text("无应答", timeout=40_000)
            assert await look.page.locator(".device").first.get_attribute("data-device") == "climate-garage"
        finally:
            site.virtual.restore("climate-garage")
        smoke = look.page.locator("[data-device='smoke-3-2f']")
        await smoke.locator("summary").click()
        await expect(smoke.locator("[data-point='smoke-3-2f.smoke']")).to_contain_text("正常")
        assert not any("uplot" in url for url in look.requests), "loaded only for a plot"
        await smoke.locator("[data-point='smoke-3-2f.smoke'] button").click()
        await smoke.locator(".uplot canvas").wait_for()
        await press(smoke, "read").click()
        await expect(press(smoke, "read")).to_contain_text("已完成")
        disabled = look.page.locator("[data-count=disabled] b")
        await expect(disabled).to_have_text("0")
        await look.hold(press(smoke, "device.disable"))
        await expect(disabled).to_have_text("1")
        await press(smoke, "device.enable").click()
        await expect(disabled).to_have_text("0")
        clean(look)


async def test_a_walk_ticks_each_detector_and_triggers_nothing(site: PageSite, browser: Browser) -> None:
    async with context(browser, PHONE) as made:
        look = await logged_in(made, site.base, "wang", "walk")
        await look.page.locator("select").select_option("building-3")
        before = site.opened("relay-north.do2")
        await look.hold(press(look.page, "zone.test"))
        await expect(look.page.locator("main.walk button[data-cmd='zone.test']")).to_contain_text("结束")
        for device in ("smoke-3-2f", "smoke-3-3f"):
            site.virtual.set(f"{device}.smoke", 1)
            await look.page.locator(f"li.tested[data-device='{device}']").wait_for()
        await expect(look.page.locator("main.walk")).to_contain_text("已测 2 / 共 3")
        await expect(look.page.locator("[data-count=fire] b")).to_have_text("0")
        await expect(look.page.locator("[data-count=test] b")).to_have_text("3")  # two alarms, and their zone
        for subject in (FIRST, SECOND):
            site.virtual.set(subject.replace("/", ".", 1).partition("/")[0], 0)
        async with asyncio.timeout(15):
            while not all([(await site.it.person("alarm.reset", alarm=one))["ok"] for one in (FIRST, SECOND)]):
                await asyncio.sleep(0.2)
        await look.hold(press(look.page, "zone.test"))
        await expect(look.page.locator(".record")).to_have_count(1)
        assert site.opened("relay-north.do2") == before
        clean(look)


async def test_lines_box_and_log_show_what_there_is(site: PageSite, browser: Browser) -> None:
    async with context(browser) as made:
        look = await logged_in(made, site.base, "wang", "lines")
        await look.page.locator(".bus rect.answered").first.wait_for()
        await expect(look.page.locator("main.lines")).to_contain_text("读保持寄存器")
        await look.go("box")
        await expect(look.page.locator("main.box")).to_contain_text("平台应答")
        await look.go("log")
        await expect(look.page.locator("main.log tbody tr").first).to_be_visible()
        await look.page.locator("main.log select[name=stream]").select_option("alarm")
        await expect(look.page.locator("main.log tbody")).to_contain_text("报警")
        await look.page.locator("main.log select[name=stream]").select_option("audit")
        async with look.page.expect_download() as waiting:
            await look.page.locator("a[download]").click()
        assert (await (await waiting.value).path()).read_bytes().startswith(b"\xef\xbb\xbftime,type,by,account")
        clean(look)


ARTEFACTS = Path(__file__).parent.parent / "artefacts"
AXE = Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
async def test_nothing_serious_keeps_anybody_from_reading_it(
    site: PageSite, browser: Browser, size: tuple[int, int], dark: bool
) -> None:
    """Of every screen, with and without all that unfolds in it, and of every dialog; with a picture of each."""
    ARTEFACTS.mkdir(exist_ok=True)
    assert (await site.it.person("inspection.run", role="steward", round="pump-run"))["ok"]
    faults: dict[str, list[tuple[str, list[str]]]] = {}
    async with context(browser, size, dark=dark, checks=True) as made:
        look = await tab(made, site.base)
        await look.ready()
        await look.page.evaluate(AXE.read_text())

        async def judge(name: str) -> None:
            await look.page.wait_for_timeout(300)
            language = await look.page.evaluate("document.documentElement.lang")
            name = f"{name}-{size[0]}-{language}-{'dark' if dark else 'light'}"
            await look.page.screenshot(path=ARTEFACTS / f"{name}.png", full_page=True)
            wide = await look.page.evaluate("() => document.documentElement.scrollWidth - innerWidth")
            found = await look.page.evaluate("() => axe.run(document)")
            faults[name] = [
                (one["id"], [node["html"][:120] for node in one["nodes"][:3]])
                for one in found["violations"]
                if one["impact"] in ("serious", "critical")
            ] + ([("too wide", [str(wide)])] if wide > 0 else [])

        await look.page.locator("button.login:visible").or_(look.page.locator(".thumb a.more:visible")).first.click()
        await judge("login" if size == DESKTOP else "more")
        await look.page.reload()
        await look.ready()
        await look.page.evaluate(AXE.read_text())
        await look.log_in("wang")
        for _ in range(2):
            await look.go("rounds")
            await look.page.locator("article.asked").wait_for()
            await judge("rounds-asked")
            await look.language()
        site.virtual.set("smoke-3-2f.smoke", 1)
        site.virtual.set("hydrant-1.pressure", 0.05)
        await look.go("overview")
        await card(look, FIRST).wait_for()
        await site.virtual.camera("lpr-north-in").sees("皖K77777", confidence=95, direction="forward")
        for _ in range(2):
            for screen in SCREENS:
                await look.go(screen)
                await judge(screen)
                await look.unfold()
                await judge(f"{screen}-unfolded")
            await look.language()
        clean(look)
    assert {name: one for name, one in faults.items() if one} == {}
