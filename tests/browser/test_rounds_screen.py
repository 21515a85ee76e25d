"""The rounds on the page, in Chromium: what runs, what is asked with a photo of the phone, what was found."""

import base64
import json
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from playwright.async_api import Browser, BrowserContext, FilePayload, Locator, Request, expect

from tests.browser.chromium import PHONE, SIZES, Look, clean, context, logged_in, press, tab
from tests.browser.site import CODE, PageSite
from tests.end_to_end.test_page import page_site
from tests.end_to_end.test_page_rounds import SVG, huge_jpeg
from tests.end_to_end.test_rounds import jpeg

pytestmark = pytest.mark.asyncio(loop_scope="module")
ASKED = "[data-item^='person:手动启动消防泵']"
LARGEST = 96 << 10


def photo(data: bytes) -> FilePayload:
    """As the camera of the phone gives it."""
    return {"name": "IMG_0001.jpg", "mimeType": "image/jpeg", "buffer": data}


def noisy(seed: int) -> bytes:
    """A photo of 12 megapixels that is no small file."""
    grain = Image.effect_noise((800, 600), 60).resize((4000, 3000))
    with Image.open(BytesIO(base64.b64decode(jpeg(seed)))) as drawn:
        picture = Image.blend(drawn.resize((4000, 3000)), grain.convert("RGB"), 0.3)
    out = BytesIO()
    picture.save(out, "JPEG", quality=90)
    return out.getvalue()


def sent_photo(request: Request) -> bytes:
    """The JPEG of an answer."""
    return base64.b64decode(json.loads(request.post_data or "{}")["args"]["photo"])


async def asked_now(site: PageSite) -> str:
    """Where the run of the pump will be shown once it is kept."""
    return f"details.run[data-run='{(await site.it.asked('rounds'))['running']['pump-run']['run']}']"


async def at_the_pump(made: BrowserContext, site: PageSite, name: str) -> tuple[Look, Locator]:
    """A tab in which this user is logged in, and the card of the pump's round."""
    look = await logged_in(made, site.base, name, "rounds")
    return look, look.page.locator("[data-round='pump-run']")


@SIZES
async def test_a_person_answers_with_a_photo_of_the_phone(
    site: PageSite, browser: Browser, size: tuple[int, int], language: str
) -> None:
    chinese = language == "zh-CN"
    async with context(browser, size, language) as made:
        look, card = await at_the_pump(made, site, "li")
        await press(card, "inspection.run").click()
        await expect(card).to_contain_text("已完成 0 / 共 1" if chinese else "0 of 1 done")
        kept = await asked_now(site)
        asked = look.page.locator(f"article.asked{ASKED}")
        yes = press(asked, "inspection.answer").first
        await expect(yes).to_be_disabled()
        await asked.locator("input[type=file]").set_input_files(photo(noisy(100 + size[0] % 7 + 3 * len(language))))
        await expect(asked.locator("canvas")).to_be_visible()
        await asked.locator("input[name=tag]").fill("guessed")
        await asked.locator("input[name=note]").fill("运行平稳")
        await yes.click()
        await expect(asked.locator(".problem")).to_contain_text(
            "编码或标签" if chinese else "not the one of this place"
        )
        await asked.locator("input[name=tag]").fill(CODE)
        async with look.page.expect_request("**/do") as waiting:
            await yes.click()
        sent = sent_photo(await waiting.value)
        assert len(sent) <= LARGEST
        with Image.open(BytesIO(sent)) as small:
            assert max(small.size) <= 1280
        await expect(asked).to_have_count(0)
        site.virtual.set("pump-1.running", 1)
        await expect(press(card, "inspection.run")).to_be_visible()
        run = look.page.locator(kept)
        await expect(run).to_contain_text("消防泵月度试运行")
        await run.locator("summary").click()
        item = run.locator(ASKED)
        await expect(item).to_contain_text("li")
        await expect(item).to_contain_text("印刷码" if chinese else "printed code")
        await expect(item).to_contain_text("运行平稳")
        await item.locator("button").click()
        await expect(item.locator("img")).to_be_visible()
        audit = await look.page.evaluate("() => fetch('/audit?limit=5').then(told => told.json())")
        viewed = next(one["data"] for one in audit["events"] if one["type"] == "person.viewed")
        assert (viewed["by"], viewed["what"]) == ("li", "picture")
        clean(look)


async def test_what_is_no_photo_is_not_taken_by_the_page(site: PageSite, browser: Browser) -> None:
    async with context(browser, PHONE) as made:
        look, card = await at_the_pump(made, site, "li")
        await press(card, "inspection.run").click()
        asked = look.page.locator(f"article.asked{ASKED}")
        await asked.wait_for()
        kept = await asked_now(site)
        camera, yes = asked.locator("input[type=file]"), press(asked, "inspection.answer").first
        for name, data in {
            "100 megapixels": huge_jpeg(), "an SVG with a script": SVG, "no bytes": b"",
            "a page": b"<script>alert(1)</script>", "half a JPEG's head": base64.b64decode(jpeg(3))[:40],
        }.items():  # fmt: skip
            await camera.set_input_files(photo(data))
            await expect(asked.locator(".problem"), name).to_contain_text("请用相机重新拍")
            await expect(yes).to_be_disabled()
        await camera.set_input_files(photo(base64.b64decode(jpeg(6)) + SVG))
        await expect(yes).to_be_enabled()
        async with look.page.expect_request("**/do") as waiting:
            await press(asked, "inspection.answer", "有问题").click()
        assert b"script" not in sent_photo(await waiting.value)
        await expect(asked).to_have_count(0)
        await expect(look.page.locator(".finding", has_text="手动启动消防泵")).to_be_visible()
        run = look.page.locator(kept)
        await run.locator("summary").click()
        await expect(run.locator(ASKED)).to_contain_text("人工判为有问题")
        clean(look)


async def test_a_night_round_goes_on_before_ones_eyes_and_its_finding_is_acknowledged(
    site: PageSite, browser: Browser
) -> None:
    site.virtual.set("hydrant-1.pressure", 0.12)
    async with context(browser) as made:
        look, _ = await at_the_pump(made, site, "li")
        night = look.page.locator("[data-round='nightly']")
        await expect(night).to_contain_text("下次")
        await press(night, "inspection.run").click()
        await expect(night.locator("progress")).to_be_visible()
        await expect(press(night, "inspection.run")).to_be_visible(timeout=60_000)
        finding = look.page.locator(".finding", has_text="最不利点消火栓")
        await expect(finding).to_contain_text("低于下限")
        await expect(finding).to_contain_text("响应还剩")
        await expect(finding).to_contain_text("解决还剩")
        await finding.locator("input[name=note]").fill("已报修")
        await press(finding, "finding.acknowledge", "重大").click()
        await expect(finding).to_contain_text("已知晓")
        await expect(finding.locator("input[name=note]")).to_have_value("")
        await expect(finding).to_contain_text("重大")
        run = look.page.locator("details.run", has_text="夜间巡检").first
        await run.locator("summary").click()
        for item, said in {
            "point:hydrant-1.pressure": "异常", "device:smoke-3-2f": "正常", "tested:building-3": "未验证",
            "camera:yard": "·",
        }.items():  # fmt: skip
            await expect(run.locator(f"[data-item='{item}']")).to_contain_text(said)
        await look.go("log")
        await look.page.locator("select[name=stream]").select_option("inspection")
        for said in ("巡检完成", "发现问题", "问题已知晓"):
            await expect(look.page.locator("main.log tbody")).to_contain_text(said)
        await look.page.locator("select").select_option("audit")
        await expect(look.page.locator("main.log tbody")).to_contain_text("已报修")
        clean(look)


async def test_a_run_is_cancelled_by_holding_and_a_guard_may_neither(site: PageSite, browser: Browser) -> None:
    async with context(browser, PHONE) as made:
        look, card = await at_the_pump(made, site, "li")
        await press(card, "inspection.run").click()
        await press(card, "inspection.cancel").click()
        await expect(card.locator("progress")).to_be_visible()
        kept = await asked_now(site)
        await look.hold(press(card, "inspection.cancel"))
        await expect(press(card, "inspection.run")).to_be_visible()
        run = look.page.locator(kept)
        await run.locator("summary").click()
        await expect(run.locator(ASKED)).to_contain_text("已取消")
        clean(look)
    async with context(browser, PHONE) as made:
        _, card = await at_the_pump(made, site, "zhang")
        assert await card.locator("[data-cmd]").count() == 0


async def test_who_is_not_logged_in_sees_how_far_a_round_is_and_nothing_of_people(
    site: PageSite, browser: Browser
) -> None:
    async with context(browser) as made:
        look = await tab(made, site.base)
        await look.ready()
        await look.go("rounds")
        await expect(look.page.locator("[data-round='nightly']")).to_contain_text("夜间巡检")
        assert await look.page.locator("[data-cmd], details.run, img").count() == 0
        clean(look)


async def test_a_site_without_rounds_has_no_such_screen(tmp_path: Path, browser: Browser) -> None:
    async with page_site(tmp_path) as (_, base, _), context(browser) as made:
        look = await tab(made, base)
        await look.ready()
        await look.log_in("wang")
        await expect(look.page.locator("a[href='#walk']").first).to_be_attached()
        await expect(look.page.locator("a[href='#rounds']")).to_have_count(0)
        await look.page.goto(f"{base}/#rounds")
        await look.ready()
        await expect(look.page.locator("main.overview")).to_be_visible()
        await look.go("log")
        await expect(look.page.locator("option[value=inspection]")).to_have_count(0)
        clean(look)
