"""The sheet of a week: what stands in it, what a hostile name does to it, and the chain of digests."""

import asyncio
import json
import re
import shutil
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from PIL import Image

from gateway.printable import harmless
from gateway.site.rounds import digest
from gateway.technician import rounds
from gateway.technician.page_link import sticker
from gateway.technician.rounds import (
    NOTICE,
    Card,
    Heading,
    Week,
    add_notes,
    links,
    of_run,
    places_sheet,
    sheet,
    sort_events,
    week_of,
)
from tests.browser.corpus import CORPUS

ZONE = ZoneInfo("Asia/Shanghai")
FIRST, LAST = week_of("2026-W48", ZONE, datetime(2026, 1, 1, tzinfo=UTC))
EVIL = '<script>alert("x")</script>'
CHROMIUM = shutil.which("chromium")


def jpeg() -> bytes:
    out = BytesIO()
    Image.new("RGB", (320, 240), (90, 120, 140)).save(out, "JPEG")
    return out.getvalue()


JPEG = jpeg()


class Page(HTMLParser):
    """Its tags, and the text of its cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.sources: list[str] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        self.sources += [str(value) for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def run(day: int, outcome: str, previous: str | None, words: str = EVIL, **more: Any) -> dict[str, Any]:
    item = {
        "item": f"person:{words}",
        "kind": "person",
        "outcome": outcome,
        "rule": words,
        "evidence": {"by": words, "text": words},
        **more,
    }
    tested = {
        "item": "tested:b3", "kind": "tested", "outcome": "abnormal", "reason": "not proven",
        "evidence": {"text": "smoke-1, smoke-2"},
    }  # fmt: skip
    data: dict[str, Any] = {
        "round": "nightly", "run": f"run-{day}", "trigger": "cron", "planned_at": f"2026-11-{day:02}T18:00:00.000000Z",
        "started_at": f"2026-11-{day:02}T18:00:00.500000Z", "finished_at": f"2026-11-{day:02}T18:01:00.000000Z",
        "items": [item, tested], "previous": previous,
    }  # fmt: skip
    return data | {"digest": digest(data)}


def event(kind: str, data: dict[str, Any]) -> dict[str, Any]:
    told = next((data[key] for key in ("finished_at", "cured_at", "opened_at", "planned_at") if data.get(key)), None)
    return {"type": f"sitegateway.{kind}.v1", "time": told, "data": data}


def week(words: str = EVIL) -> Week:
    first = run(22, "normal", None, words)
    second = run(23, "abnormal", first["digest"], words, reason="covered", pictures=["then"])
    missed = {
        "round": "nightly", "run": "m", "planned_at": "2026-11-24T18:00:00.000000Z",
        "items": [{"item": "round", "outcome": "not-checkable", "reason": "off"}],
    }  # fmt: skip
    finding = {
        "finding": "f", "round": "nightly", "item": f"person:{words}", "reason": "covered", "class": "ordinary",
        "opened_at": "2026-11-23T18:00:30.000000Z", "respond_by": "2026-11-23T18:20:30.000000Z", "before": ["then"],
        "cured_at": None, "acknowledged_at": None, "overdue": True,
    }  # fmt: skip
    cured = finding | {"cured_at": "2026-11-24T18:00:30.000000Z", "after": ["gone"]}
    events = [
        event("inspection.finished", first), event("inspection.finished", second), event("inspection.missed", missed),
        event("finding.opened", finding), event("finding.overdue", finding), event("finding.cured", cured),
    ]  # fmt: skip
    return sort_events(events, FIRST, LAST)


def shown(found: Week, words: str = EVIL) -> str:
    trends = {f"nightly/point:{words}": [[1.0, 0.35], [2.0, 0.34], [3.0, 0.30]]}
    heading = Heading(words, "2026-11-30 08:00", {"nightly": f"夜间{words}"})
    return sheet(found, heading, {"then": JPEG}, trends)


def test_the_week_of_the_site() -> None:
    assert str(FIRST) == "2026-11-23 00:00:00+08:00"
    assert str(LAST) == "2026-11-30 00:00:00+08:00"
    assert week_of(None, ZONE, datetime(2026, 11, 29, 17, tzinfo=UTC))[0].date().isoformat() == "2026-11-30"
    with pytest.raises(ValueError, match="2026-W60"):
        week_of("2026-W60", ZONE, datetime.now(UTC))
    with pytest.raises(ValueError, match="calendar"):
        week_of("9999-W52", ZONE, datetime.now(UTC))


def test_all_that_belongs_on_it_stands_on_it() -> None:
    text = shown(week())
    page = Page(text)
    told = "\n".join(page.text)
    for words in (
        "巡查内容", "巡查情况", "处置情况", "巡查人员", "主管人员", *NOTICE, "漏检", "网关停机 off", "遮挡 covered",
        "已处置 cured", "当时 then", "现在 now", "一般 ordinary", "日期",
        "不再保存 not kept any more", "smoke-1, smoke-2", "0.3", "✗", "✓",
    ):  # fmt: skip
        assert words in told, words
    # 18:00 UTC is 02:00 of the next day here.
    row = text[text.index("<td>人工") : text.index("</tr>", text.index("<td>人工"))]
    assert re.findall(r'<td class="?([a-z-]+)', row) == ["normal", "abnormal", "missed", *["none"] * 4]
    assert "svg" in page.tags


def test_what_an_item_found_is_said_in_words() -> None:
    figures = {"reaches_from": "2026-12-10T00:00:00.000000Z", "reaches_until": "2026-12-20T00:00:00.000000Z"}
    items = [
        {"item": "point:hydrant.pressure", "kind": "point", "outcome": "abnormal", "reason": "sinking", "value": 0.2,
         "unit": "MPa", "evidence": {"figures": figures}},
        {"item": "no_alarm:b3", "kind": "no_alarm", "outcome": "abnormal", "reason": "alarms stand", "value": 2},
        {"item": "person:look", "kind": "person", "outcome": "normal", "value": True},
    ]  # fmt: skip
    found = sort_events([event("inspection.finished", run(22, "normal", None) | {"items": items})], FIRST, LAST)
    text = shown(found)
    for words in (
        "测点 hydrant.pressure", "0.2 MPa", "持续下降 sinking", "reaches the limit 2026-12-10 – 2026-12-20",
        "2 条报警 alarms",
    ):  # fmt: skip
        assert words in text, words
    assert "True" not in text


def test_every_reason_that_the_page_says_in_chinese_the_sheet_says_too() -> None:
    words = json.loads((Path(rounds.__file__).parents[1] / "local/static/words.zh.json").read_text(encoding="utf-8"))
    reasons = {key.removeprefix("found."): said for key, said in words.items() if key.startswith("found.")}
    items = [
        {"item": f"point:p{number}", "kind": "point", "outcome": "not-checkable", "reason": reason}
        for number, reason in enumerate(reasons)
    ]
    text = shown(sort_events([event("inspection.finished", run(22, "normal", None) | {"items": items})], FIRST, LAST))
    missing = [reason for reason in reasons if not re.search(rf"[\u4e00-\u9fff]+ {re.escape(reason)}<", text)]
    assert missing == []


def test_a_good_run_hides_neither_a_bad_one_nor_a_missed_one() -> None:
    night = run(23, "abnormal", None, reason="covered")
    again = run(23, "normal", night["digest"]) | {"planned_at": None, "started_at": "2026-11-24T00:00:00.000000Z"}
    missed = {"round": "nightly", "run": "m", "planned_at": "2026-11-23T19:00:00.000000Z", "items": []}
    finished = [event("inspection.finished", one) for one in (night, again)]
    text = shown(sort_events([*finished, event("inspection.missed", missed)], FIRST, LAST))
    row = text[text.index("<td>人工") : text.index("</tr>", text.index("<td>人工"))]
    assert '<td class="abnormal"' in row
    assert ">漏✗✓</td>" in row


def test_a_run_stands_in_the_week_in_which_it_was_due() -> None:
    late = run(29, "normal", None) | {"planned_at": "2026-11-29T15:00:00.000000Z"}
    late |= {"finished_at": "2026-11-30T15:00:00.000000Z"}
    events = [event("inspection.finished", late)]
    assert sort_events(events, FIRST, LAST).runs == [late]
    assert sort_events(events, LAST, LAST + timedelta(7)).runs == []


def finding(name: str, opened: str, cured: str | None = None, round_: str = "nightly") -> dict[str, Any]:
    """By the days of November or December 2026."""
    return {
        "finding": name, "round": round_, "item": f"point:{name}.p", "reason": "below", "class": "ordinary",
        "opened_at": f"2026-{opened}T18:00:30.000000Z", "cured_at": cured and f"2026-{cured}T18:00:30.000000Z",
        "respond_by": f"2026-{opened}T18:20:30.000000Z", "resolve_by": f"2026-{opened}T18:30:30.000000Z",
        "acknowledged_at": None, "acknowledged_by": None, "overdue": False, "after": None,
    }  # fmt: skip


def told(kind: str, at: str, data: dict[str, Any]) -> dict[str, Any]:
    return event(kind, data) | {"time": f"2026-{at}T18:00:30.000000Z"}


LONG, GONE, LATER = finding("long", "10-28"), finding("gone", "11-01", "11-10"), finding("later", "12-01")
KEPT = [
    told("finding.opened", "10-28", LONG), told("finding.opened", "11-01", GONE | {"cured_at": None}),
    told("finding.cured", "11-10", GONE), told("finding.opened", "11-23", finding("new", "11-23")),
    told("finding.opened", "11-25", finding("other", "11-25", round_="pump")),
    told("finding.opened", "12-01", LATER), told("finding.cured", "12-02", finding("long", "10-28", "12-02")),
]  # fmt: skip


def test_the_sheet_of_a_week_shows_what_stood_in_it() -> None:
    standing = [
        LATER,
        finding("old", "09-01"),
        finding("new", "11-23") | {"acknowledged_at": "2026-12-02T00:00:00.000000Z"},
    ]
    found = sort_events(KEPT, FIRST, LAST, standing)
    assert sorted(found.findings) == ["long", "new", "old", "other"]
    assert found.findings["long"]["cured_at"] is None, "it was cured later"
    assert shown(found).count("未确认 open") == 4


def test_a_finding_of_which_only_the_end_is_kept_stands_on_the_sheet_as_it_was() -> None:
    """It was opened before what is kept begins, and acknowledged, late and cured after the week."""
    after = {"acknowledged_at": "2026-12-01T08:00:00.000000Z", "acknowledged_by": "li", "overdue": True}
    ended = finding("ended", "11-20", "12-02") | after | {"after": ["now"]}
    found = sort_events([told("finding.cured", "12-02", ended)], FIRST, LAST)
    shown_as = found.findings["ended"]
    assert (shown_as["cured_at"], shown_as["after"], shown_as["acknowledged_by"]) == (None, None, None)
    assert shown_as["overdue"], "both clocks had run out by then"
    assert "未确认 open <b>超时 overdue</b>" in shown(found)
    assert sort_events([told("finding.cured", "12-02", ended)], LAST, LAST + timedelta(7)).findings["ended"] == ended
    fresh = finding("fresh", "11-29") | {"opened_at": "2026-11-29T15:50:00.000000Z"}
    late = fresh | {"respond_by": "2026-11-29T16:10:00.000000Z", "resolve_by": "2026-11-29T16:20:00.000000Z"}
    assert not sort_events([told("finding.overdue", "11-30", late | {"overdue": True})], FIRST, LAST).findings["fresh"][
        "overdue"
    ]


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        ([], "没有保存记录 no record is kept"),
        (["11-25"], "records are kept from 2026-11-26 02:00 on"),
        (["11-10", "11-25"], None),
    ],
)
def test_a_sheet_says_from_when_on_records_are_kept(kept: list[str], words: str | None) -> None:
    """A week of which nothing is kept any more is not one in which nothing was found."""
    guessed = told("finding.opened", "01-01", finding("g", "01-01")) | {"clock": "unsynced"}
    found = sort_events(
        [*[guessed] * bool(kept), *(told("finding.opened", at, finding(at, at)) for at in kept)], FIRST, LAST
    )
    assert found.is_whole == (words is None)
    assert shown(found).count("class=notice") == 1 + (words is not None)
    assert words is None or words in shown(found)


def test_what_was_written_with_an_acknowledgement_stands_on_the_sheet() -> None:
    def said(at: str, name: str, note: str, **more: Any) -> dict[str, Any]:
        args = {"finding": name, "note": note}
        return told("command.done", at, {"cmd": "finding.acknowledge", "ok": True, "sub": "li", "args": args} | more)

    found = sort_events(KEPT, FIRST, LAST)
    audit = [
        said("11-23", "new", f"handle {EVIL}"), said("11-24", "nightly/point:new.p", "ordered"),
        said("11-24", "nightly/point:new.p", "refused", ok=False), said("11-24", "another", "of another"),
        said("11-24", "new", "not of this command", cmd="alarm.acknowledge"), said("12-03", "new", "later"),
        said("11-01", "nightly/point:new.p", "of one before it"),
    ]  # fmt: skip
    add_notes(found, audit)
    assert [note["note"] for note in found.findings["new"]["notes"]] == [f"handle {EVIL}", "ordered"]
    assert not found.findings["long"].get("notes")
    page = Page(shown(found))
    assert "11-25 02:00 li: ordered" in "\n".join(page.text)
    assert "script" not in page.tags


def test_the_sheet_of_a_run_shows_what_stood_while_it_ran() -> None:
    night = run(23, "abnormal", None)
    found = of_run(sort_events(KEPT, FIRST, LAST), night)
    assert (found.runs, sorted(found.findings)) == ([night], ["long", "new"])
    before = of_run(sort_events(KEPT, FIRST, LAST), run(22, "normal", None))
    assert sorted(before.findings) == ["long"]


def test_a_trend_ends_with_the_week() -> None:
    values = [[FIRST.timestamp() + day * 86400, 0.5 - day / 100] for day in range(10)]
    text = sheet(week(), Heading("s", "now", {"nightly": "N"}), {}, {"nightly/point:h.p": values})
    assert "测点 h.p 0.44<" in text


HARMLESS = "a harmless name"


@pytest.mark.parametrize("words", CORPUS)
def test_no_name_is_markup_and_nothing_is_loaded(words: str) -> None:
    """The sheet and the cards of places have the elements and attributes that they have for any other name."""
    page, cards = Page(shown(week(words), words)), Page(cards_of(words))
    for hostile, plain in ((page, Page(shown(week(HARMLESS), HARMLESS))), (cards, Page(cards_of(HARMLESS)))):
        assert (hostile.tags, hostile.attributes) == (plain.tags, plain.attributes)
        assert "".join(hostile.text).count(words) == "".join(plain.text).count(HARMLESS) > 3
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.sources)


def cards_of(words: str) -> str:
    """Without a code: that has as many strokes as its text needs."""
    return places_sheet([Card("pump", words, "ntag424", None, [words])], words)


@pytest.mark.parametrize("words", [*CORPUS, "a name\x07 with \x1b[31mcontrol\x00 signs"])
def test_a_sticker_is_a_picture_with_any_name(words: str) -> None:
    tree = ET.fromstring(sticker("http://127.0.0.1:8081/", words))  # noqa: S314 - our own
    plain = ET.fromstring(sticker("http://127.0.0.1:8081/", HARMLESS))  # noqa: S314 - our own
    assert [one.tag for one in tree.iter()] == [one.tag for one in plain.iter()]
    assert [{*one.attrib} for one in tree.iter()] == [{*one.attrib} for one in plain.iter()]
    assert harmless(words) in [one.text for one in tree.iter()]


async def test_a_browser_prints_it_on_a4(tmp_path: Path) -> None:
    (tmp_path / "week.html").write_text(shown(week()), encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile",
        f"--print-to-pdf={tmp_path}/week.pdf", f"file://{tmp_path}/week.html",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    async with asyncio.timeout(100):
        assert await process.wait() == 0
    pdf = (tmp_path / "week.pdf").read_bytes()
    assert pdf.startswith(b"%PDF")
    boxes = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", pdf)
    assert boxes
    for width, height in boxes:  # points of 1/72 inch: 210 x 297 mm
        assert (round(float(width) * 25.4 / 72), round(float(height) * 25.4 / 72)) == (210, 297)
    assert b"/Subtype /Image" in pdf or b"/Subtype/Image" in pdf


def test_a_chain_that_was_broken_is_shown() -> None:
    found = week()
    assert links(found.runs) == [None, True], "the run before the first one is not on the sheet"
    assert len(re.findall(r"<td>–</td></tr>", shown(found).partition("SHA-256")[2])) == 1
    changed = Week(FIRST, LAST, [{**found.runs[0], "started_at": "2026-11-22T19:00:00.000000Z"}, found.runs[1]])
    assert links(changed.runs) == [False, True]
    first = run(21, "normal", None)
    left_out = Week(FIRST, LAST, [first, found.runs[1]])
    assert links(left_out.runs) == [None, False]
    assert "断开 broken" in shown(left_out)
