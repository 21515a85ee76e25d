"""No plate is in any log line, metric or health message of a day on which everything happens to plates."""

import json
import re
import urllib.request
from asyncio import to_thread
from pathlib import Path

import pytest

from simulators.cameras.model import PushAnswer
from tests.drivers.anpr.pushing import connected
from tests.end_to_end.camera_site import BLOCKED, LISTED, UNLISTED, CameraSite, camera_site, site_text
from tests.end_to_end.process import running
from tests.end_to_end.telling_all import COMMAND

CAMERAS = {
    "hik": "driver: hikvision, token: {file: camera.token}",
    "vz": "driver: vzenith",
    "any": "driver: generic",
    "dahua": "driver: dahua",
    "pulled": "driver: hikvision, mode: pull, username: admin, password: {file: camera.pass}",
}
MISREAD = "沪A1234S"
MILITARY = "VA12345"
FOREIGN = "沪AF12345"
BROKEN_CSV = f"plate,kind,from,until,gates,note\n{FOREIGN},nothing,,,,\n{UNLISTED},resident,2026-01-01,2025-01-01,,\n"
USED = (LISTED, UNLISTED, BLOCKED, MISREAD, MILITARY, FOREIGN)


def status_text(text: str) -> str:
    """With a page for metrics, and a list that is wrong."""
    text = text.replace("http: {cameras:", "http: {status: {listen: '127.0.0.1:2'}, cameras:")
    return text.replace("lists: [residents.csv]", "lists: [residents.csv, broken.csv]")


async def everything(site: CameraSite) -> None:
    """What a plate can go through, and where errors speak of it."""
    it = site.it
    for name in ("hik", "vz", "any", "dahua"):
        for plate in USED:
            answer: PushAnswer = await site.sees(name, plate)
            assert answer.right
    site.camera("pulled").see(LISTED)
    for body in (
        json.dumps({"plate": [LISTED], "x": UNLISTED}).encode(),
        f'{{"plate": "{LISTED}", "time": "{UNLISTED}", "confidence": "{MILITARY}"'.encode(),
        json.dumps({"plate": LISTED, "id": "p", "scene_picture": "bm8gcGljdHVyZQ==", "colour": UNLISTED}).encode(),
        f"<a>{LISTED}</a>".encode(),
    ):
        assert await site.raw("any", body) == 200
        assert await site.raw("dahua", body, "/cameras/dahua") == 200
    assert await site.raw("any", b"{}", f"/cameras/{MILITARY}") == 404
    assert await site.raw("any", b"{}", f"/cameras/any/{MILITARY}?plate={MILITARY}") == 200
    async with connected(site.port, site.camera("any").setup.address) as line:
        line.writer.write(f"POST /cameras/any?{LISTED} HTTP/9.9 {UNLISTED}\r\n{MILITARY}\r\n\r\n".encode())
        assert (await line.answer()).status == 400
    refused = await it.command("access.update", it.every_key, list=LISTED, version=UNLISTED, put=[{"plate": LISTED}])
    assert not refused["ok"]
    await it.command("access.update", it.every_key, list="l", version=1, full=True, put=[{"plate": FOREIGN, "kind": "staff"}])  # fmt: skip  # noqa: E501
    await it.command("access.presence", it.every_key, plate=LISTED, inside=True)
    await it.person("access.show", role="technician", plate=LISTED)
    await it.person("access.show", role="technician", plate=LISTED, gate=UNLISTED)
    await it.person("gate.open", gate="g-any", reason=f"for {LISTED}", passage=MILITARY)
    await it.command("access.forget", it.every_key, plate=BLOCKED)


@pytest.mark.parametrize("style", COMMAND)
async def test_no_plate_is_told_to_who_looks_on(tmp_path: Path, style: str) -> None:
    (tmp_path / "broken.csv").write_text(BROKEN_CSV, encoding="utf-8")
    async with camera_site(tmp_path, status_text(site_text(CAMERAS, "dedup: 1ms"))) as site:
        it = site.it
        page = re.search(r'status: \{?\s*"?listen"?: "?(127[\d.:]+)', it.site.read_text())
        assert page is not None, it.site.read_text()
        async with running(it.site, COMMAND[style]) as gateway:
            await site.ready()
            await everything(site)
            metrics = await to_thread(fetched, f"http://{page[1]}/metrics")
            health = json.dumps([await it.asked("status"), it.cloud.latest["health"]], ensure_ascii=False)
            await gateway.kill()
        async with running(it.site, COMMAND[style]) as gateway:
            await site.ready()
            await site.sees("any", LISTED)
            assert (await gateway.stop())[0] == 0
        log = gateway.log.read_text(encoding="utf-8")
    assert log.count("list of plates") >= 2
    assert "sitegateway" in metrics or "site_gateway" in metrics, metrics[:200]
    for plate in USED:
        for text in (log, metrics, health):
            for way in (plate, json.dumps(plate)[1:-1], plate[1:]):
                assert way.casefold() not in text.casefold(), [line for line in text.splitlines() if way in line]


def fetched(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own page
        return str(answer.read(), "utf-8")
