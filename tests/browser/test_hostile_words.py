"""Whatever people, lists, cameras and site files say: the page shows it as it is, and nothing of it runs."""

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.browser.chromium import DESKTOP, PHONE, Look, context, tab
from tests.browser.corpus import CORPUS, COUNT
from tests.end_to_end.compound import HEAD, RELAY, Compound
from tests.end_to_end.test_page import page_site

pytestmark = pytest.mark.asyncio(loop_scope="module")
BURNING = range(0, COUNT, 8)
_LISTEN = """addEventListener('securitypolicyviolation', told => (window.reports ??= []).push(told.violatedDirective));
window.ran = 0;"""


def site() -> str:
    """Each text is the name of a zone and the place of a detector in it; some are those of a gate and of the site."""
    quoted = [json.dumps(text, ensure_ascii=False) for text in CORPUS]
    smoke = "points: {smoke: {at: holding 0, every: 2s, alarms: {fire: {kind: fire, equals: 1}}}}"
    zones = "\n".join(f"  z{n}: {{name: {text}}}" for n, text in enumerate(quoted))
    devices = "\n".join(
        f"  d{n}: {{line: l{n // 20}, unit: {n % 20 + 1}, kind: smoke-detector, zone: z{n}, place: {text}, {smoke}}}"
        for n, text in enumerate(quoted)
    )
    lines = "\n".join(f"  l{n}: {{driver: modbus, tcp: '127.0.0.1:{n + 1}'}}" for n in range(COUNT // 20 + 1))
    head = HEAD.replace("{id: xima-xincun}", f"{{id: xima-xincun, name: {quoted[2]}}}")
    return (
        f"{head}lines:\n{lines}\nzones:\n{zones}\ndevices:\n{devices}\n"
        f"  relay-tcp:\n    line: l{COUNT // 20}\n    unit: 1\n{RELAY}\n"
        f"gates:\n  north: {{name: {quoted[0]}, open: relay-tcp.do1, hold: relay-tcp.do2, on_loss: keep}}\n"
        f"linkage:\n  evacuation: {{hold: [north], trigger: any}}\n"
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hostile(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Compound, str]]:
    async with page_site(tmp_path_factory.mktemp("hostile"), site()) as (it, base, _):
        for n in BURNING:
            it.virtual.set(f"d{n}.smoke", 1)
        for text in CORPUS:
            assert (await it.person("gate.open", by=text[:200].strip(), gate="north", reason=text))["ok"]
        yield it, base


async def harmless(look: Look) -> None:
    """Nothing ran, was reported, asked for elsewhere, or said on the console."""
    assert await look.page.evaluate("[window.ran, window.reports ?? []]") == [0, []]
    assert (
        await look.page.locator("iframe, object, embed, base, meta[http-equiv], script:not([type=module])").count() == 0
    )
    assert look.away == []
    assert look.messages == []


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
async def test_two_hundred_texts_are_shown_as_they_are(
    hostile: tuple[Compound, str], browser: Browser, size: tuple[int, int]
) -> None:
    _, base = hostile
    async with context(browser, size) as made:
        await made.add_init_script(_LISTEN)
        look = await tab(made, base)
        await look.ready()
        await look.log_in("wang")
        await expect(look.page.locator("article.fire")).to_have_count(len(BURNING), timeout=30_000)
        heads = "all => all.map(one => [one.dataset.alarm, one.querySelector('h3').textContent])"
        for subject, text in await look.page.locator("article.fire").evaluate_all(heads):
            wanted = CORPUS[int(subject.partition("/")[0].removeprefix("d"))]
            assert " ".join(wanted.split()) in " ".join(text.split()), subject
        await harmless(look)
        await look.go("devices")
        await expect(look.page.locator(".device")).to_have_count(COUNT + 1)
        names = """all => all.map(one => [one.dataset.device, one.querySelector('summary b').textContent,
            one.closest('section').getAttribute('aria-label')])"""
        for device, place, label in await look.page.locator(".device[data-device^=d]").evaluate_all(names):
            wanted = CORPUS[int(device.removeprefix("d"))]
            assert (place, label) == (wanted, wanted), "in text and in an attribute"
        await harmless(look)
        await look.go("gates")
        await expect(look.page.locator("[data-gate=north]")).to_contain_text(CORPUS[0])
        await look.go("log")
        more, rows = look.page.locator("main .bar:last-child > button"), look.page.locator("tbody tr")
        await rows.first.wait_for()
        while await more.count():
            before = await rows.count()
            await more.click()
            await expect(rows).not_to_have_count(before)
        told = " ".join("\n".join(await rows.evaluate_all("all => all.map(one => one.textContent)")).split())
        for text in CORPUS:
            assert f"reason={' '.join(text.split())}" in told
            assert f" · {' '.join(text[:200].split())} · " in told, "the name of who did it"
        await harmless(look)


async def test_what_is_in_the_address_or_in_a_field_runs_nowhere(
    hostile: tuple[Compound, str], browser: Browser
) -> None:
    _, base = hostile
    async with context(browser) as made:
        await made.add_init_script(_LISTEN)
        look = await tab(made, base)
        await look.ready()
        for text in CORPUS[::40]:
            await look.page.goto(f"{base}/#{text}")
            await look.page.goto(f"{base}/#code={text}")
            await look.ready()
        await look.log_in("wang")
        await look.go("log")
        for text in CORPUS[::25]:
            await look.page.locator("input[name=by]").fill(text[:60])
            await look.page.locator("form.bar button.strong").click()
            await look.page.locator("main table, main .none").first.wait_for()
        await harmless(look)
