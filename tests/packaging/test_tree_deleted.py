"""An upgrade takes the program's files away beneath the running daemon: it goes on without them, to its clean end."""

import os
import shutil
from pathlib import Path

import pytest

from tests.end_to_end.browsing import Browser, listening
from tests.end_to_end.camera_site import LISTED, camera_site, site_text
from tests.end_to_end.process import running
from tests.end_to_end.test_page import page_of, with_page
from tests.packaging.building import built_once, unpacked

CAMERA = {"entry": "driver: hikvision, token: {file: camera.token}"}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    own = tmp_path_factory.getbasetemp()
    of_the_run = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    return built_once(of_the_run / "package", "--machine", "amd64")


async def test_all_goes_on_when_the_tree_is_deleted_beneath_the_daemon(package: Path, tmp_path: Path) -> None:
    """As the package runs it: by the launcher, with the libraries of its tree and no others."""
    root = unpacked(package, tmp_path / "root")
    text = site_text(CAMERA, fire=True).replace("allow: [gate.open,", "allow: [config.get, gate.open,")
    async with (
        camera_site(tmp_path, with_page(text, tmp_path)) as site,
        running(site.it.site, ("-IS", str(root / "usr/bin/site-gateway"), "run")) as gateway,
    ):
        it, base = site.it, page_of(site.it.site)
        await site.ready()
        await listening(base)
        shutil.rmtree(root)

        await site.sees("entry", LISTED)  # a passage, and its picture
        (passage,) = await site.passages(1)
        assert passage["decision"] == "opened"
        await it.cloud.until(lambda seen: set(passage["pictures"]) <= {one["id"] for one in seen.of("picture.taken")})
        assert passage["pictures"]

        async with Browser(base) as browser:  # a login
            await browser.log_in("zhang", "password of zhang")
            assert (await browser.get("/"))[0] == 200
            async with browser.looking() as seen:
                await seen.until(lambda state: state["devices"]["smoke"]["answering"])
                assert (await browser.do(seen, "gate.open", gate="g-entry"))[1]["ok"]

        assert (await it.command("gate.open", gate="g-entry", reason="x"))["ok"]  # a command
        got = await it.command("config.get", it.every_key)
        assert got["result"]["file"] == it.site.read_text()

        it.virtual.set("smoke.smoke", 1)  # a fire
        await it.until_standing("smoke/smoke/fire")
        await it.until(lambda: it.on("relay.do0"))
        await it.cloud.until(lambda seen: len(seen.of("gate.held")) == 1)

        status, seconds = await gateway.stop()  # a clean stop
        assert (status, seconds < 5) == (0, True)
        await it.cloud.until(lambda seen: seen.latest["status"]["data"]["online"] is False)
        log = gateway.log.read_text()
        assert "Traceback" not in log
        assert str(root / "usr") not in log
