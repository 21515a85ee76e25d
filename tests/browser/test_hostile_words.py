"""Whatever people, cameras and site files say: the page shows it as it is, and nothing of it runs.

Ids cannot be such texts (`Id` of the site file), and notes of a list of plates are shown nowhere.
"""

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.browser.chromium import DESKTOP, PHONE, Look, context, logged_in, tab
from tests.browser.corpus import CORPUS, COUNT
from tests.end_to_end.compound import HEAD, RELAY, Compound
from tests.end_to_end.test_page import page_site

pytestmark = pytest.mark.asyncio(loop_scope="module")
BURNING = range(0, COUNT, 8)
PLATES = [text for text in CORPUS if len(text.encode()) <= 64 and text.strip() == text][::6][:12]
"""As a camera sends them, as far as that is kept; looking at one costs 14 of the 240 that a guard may ask for."""
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


def round_site() -> str:
    """Each text is a place, what a person is asked there, and a unit; the first ones are titles."""
    quoted = [json.dumps(text, ensure_ascii=False) for text in CORPUS]
    places = "\n".join(f"  p{n}: {{name: {text}}}" for n, text in enumerate(quoted))
    items = "\n".join(f"      - {{person: {text}, place: p{n}}}" for n, text in enumerate(quoted))
    points = "\n".join(
        f"      u{n}: {{at: holding {n}, unit: {json.dumps(text[:20], ensure_ascii=False)}}}"
        for n, text in enumerate(CORPUS)
    )
    return (
        f"{HEAD}lines:\n  io: {{driver: modbus, tcp: '127.0.0.1:1'}}\n"
        f"devices:\n  relay-tcp:\n    line: io\n    unit: 1\n{RELAY}\n"
        f"  meter:\n    line: io\n    unit: 2\n    place: {quoted[3]}\n    points:\n{points}\n"
        f"gates:\n  north: {{name: {quoted[0]}, open: relay-tcp.do1, hold: relay-tcp.do2, on_loss: keep}}\n"
        f"cameras:\n  cam: {{driver: hikvision, mode: push, gate: north, direction: in, address: 192.0.2.1}}\n"
        f"http: {{cameras: {{listen: '127.0.0.1:1'}}}}\naccess: {{unknown: {{in: deny, out: open}}}}\n"
        f"places:\n{places}\ninspection:\n  look:\n    title: {quoted[1]}\n    items:\n{items}\n"
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def patrolled(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Compound, str]]:
    """A site whose round is under way, and past whose camera strange plates have driven."""
    async with page_site(tmp_path_factory.mktemp("patrolled"), round_site()) as (it, base, _):
        await it.until_well("meter")
        camera = it.virtual.camera("cam")
        await camera.until(lambda one: any(beat.right for beat in one.heartbeats))
        for text in PLATES:
            await camera.sees(text, confidence=97, direction="forward")
        assert (await it.person("inspection.run", role="steward", round="look"))["ok"]
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
        await expect(look.page.locator("a[href='#rounds']")).to_have_count(0)  # of a site that has none
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
            assert f"原因 {' '.join(text.split())}" in told
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


async def test_what_a_camera_sends_as_a_plate_is_shown_as_it_is(
    patrolled: tuple[Compound, str], browser: Browser
) -> None:
    _, base = patrolled
    async with context(browser) as made:
        await made.add_init_script(_LISTEN)
        look = await logged_in(made, base, "wang", "gates")
        rows = look.page.locator(".passages tbody tr")
        await expect(rows).to_have_count(len(PLATES))
        for number in range(len(PLATES)):
            if await (button := rows.nth(number).locator("button.plain")).count():
                await button.click()
            await rows.nth(number).locator(".plate").wait_for()
        told = " ".join(" ".join(await rows.all_inner_texts()).split())
        shown = [text for text in PLATES if " ".join(text.split()) in told]
        assert shown == PLATES
        await harmless(look)


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
async def test_places_items_titles_and_units_are_shown_as_they_are(
    patrolled: tuple[Compound, str], browser: Browser, size: tuple[int, int]
) -> None:
    _, base = patrolled
    async with context(browser, size) as made:
        await made.add_init_script(_LISTEN)
        look = await logged_in(made, base, "wang", "rounds")
        asked = look.page.locator("article.asked")
        await expect(asked).to_have_count(COUNT)
        parts = """all => all.map(one => [one.dataset.item, one.querySelector('h3').textContent,
            one.querySelector('small').textContent])"""
        for item, text, place in await asked.evaluate_all(parts):
            wanted = item.removeprefix("person:")
            assert wanted in CORPUS, "in an attribute"
            assert place == wanted, "the place is called as what is asked"
            assert " ".join(wanted.split()) in " ".join(text.split()), "in text"
        await expect(look.page.locator("[data-round=look] h3")).to_contain_text(" ".join(CORPUS[1].split()))
        await harmless(look)
        await look.go("devices")
        await look.page.locator("[data-device=meter] summary").click()
        cells = look.page.locator("[data-device=meter] [data-point] td.number")
        await expect(cells).to_have_count(COUNT)
        for text, value in zip(CORPUS, await cells.all_inner_texts(), strict=True):
            assert " ".join(text[:20].split()) in " ".join(value.split())
        for screen in ("overview", "lines", "walk", "box"):
            await look.go(screen)
        await harmless(look)


async def test_notes_of_answers_and_findings_and_who_gave_them_are_shown_as_they_are(
    patrolled: tuple[Compound, str], browser: Browser
) -> None:
    it, base = patrolled
    run = (await it.asked("rounds"))["running"]["look"]["run"]
    for text in CORPUS:
        args = {"run": run, "item": f"person:{text}", "ok": False, "note": text[:200]}
        assert (await it.person("inspection.answer", by=text[:200].strip(), **args))["ok"], text
        finding = f"look/person:{text}"
        assert (await it.person("finding.acknowledge", by=text[:200].strip(), finding=finding, note=text))["ok"], text
    async with context(browser) as made:
        await made.add_init_script(_LISTEN)
        look = await logged_in(made, base, "wang", "rounds")
        findings = look.page.locator("article.finding")
        await expect(findings).to_have_count(COUNT)
        heads = " ".join(" ".join(await findings.locator("h3").all_inner_texts()).split())
        past = look.page.locator("details.run")
        await past.locator("summary").first.click()
        items = past.first.locator("li[data-item]")
        await expect(items).to_have_count(COUNT)
        facts = dict(
            await items.evaluate_all(
                "all => all.map(one => [one.dataset.item, one.querySelector('small').textContent])"
            )
        )
        for text in CORPUS:
            assert " ".join(text.split()) in heads
            told = " ".join(facts[f"person:{text}"].split())
            assert told.count(" ".join(text[:200].split())) >= 2, "what was noted, and by whom"
        await harmless(look)
