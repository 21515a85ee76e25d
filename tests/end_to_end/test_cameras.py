"""Every maker's camera before a gate, the real daemon between them, and no broker."""

import asyncio
import base64
import io
from pathlib import Path

from PIL import Image

from tests.end_to_end.camera_site import LISTED, UNLISTED, CameraSite, camera_site, site_text
from tests.end_to_end.process import running

PUSHING = ("hikvision", "dahua", "vzenith", "uniview", "platerecognizer", "gat1400", "generic")
PULLED = "mode: pull, username: admin, password: {file: camera.pass}"
CAMERAS = {
    **{maker: f"driver: {maker}, token: {{file: camera.token}}" for maker in PUSHING},
    "hikvision-pull": f"driver: hikvision, {PULLED}",
    "dahua-pull": f"driver: dahua, {PULLED}",
    "own-relay": "driver: vzenith",
}
LARGEST = 96 << 10


async def one_car_each(site: CameraSite, plate: str) -> None:
    """A car before every camera, and its answer where the camera asked for one."""
    async with asyncio.TaskGroup() as group:
        for name in CAMERAS:
            if name.endswith("-pull"):
                site.camera(name).see(plate)
            else:
                group.create_task(site.sees(name, plate), name=name)


async def test_every_maker_opens_for_the_listed_and_the_cloud_hears_of_it_later(tmp_path: Path) -> None:
    async with camera_site(tmp_path, site_text(CAMERAS, "dedup: 1s", own=["own-relay"])) as site:
        it = site.it
        async with running(it.site):
            await site.ready()
            await it.broker.stop()
            await one_car_each(site, UNLISTED)
            await one_car_each(site, LISTED)
            for name in CAMERAS:
                if name != "own-relay":
                    await site.until_moved(name)
            orders = site.camera("own-relay").relay_orders
            assert [(one.io, one.value) for one in orders] == [(0, 2)], "a pulse in the answer, for the listed car"
            assert it.written("relay", "do9") == []
            await it.broker.start()
            told = await site.passages(2 * len(CAMERAS))
            named = {id_ for passage in told for id_ in passage["pictures"]}
            await it.cloud.until(lambda seen: named <= seen.arrived.keys() and len(seen.of("gate.opened")) == 10)
        check(site)


def check(site: CameraSite) -> None:
    """Each passage once, in order, with its pictures."""
    cloud = site.it.cloud
    told = cloud.of("access")
    assert sorted((event["data"]["camera"], event["data"]["plate"]) for event in told) == sorted(
        (name, plate) for name in CAMERAS for plate in (LISTED, UNLISTED)
    )
    numbers = [int(event["sequence"]) for event in cloud.events if event["stream"] == "access"]
    assert numbers == list(range(1, len(numbers) + 1)), "each once, in order"
    taken = {event["id"]: event for event in cloud.of("picture.taken")}
    for event in told:
        passage = event["data"]
        is_listed = passage["plate"] == LISTED
        assert event["type"].split(".")[2] == ("passage" if is_listed else "denied"), passage
        expected = ("opened", "listed") if is_listed else ("denied", "unknown")
        assert (passage["decision"], passage["reason"]) == expected
        assert (passage["opened_at"] is not None) is is_listed
        kinds = []
        for id_ in passage["pictures"]:
            picture = taken.pop(id_)
            assert picture["passage"] == passage["passage"]
            assert picture["subject"] == passage["camera"]
            kinds.append(picture["picturekind"])
            data = base64.b64decode(picture["data_base64"], validate=True)
            assert len(data) <= LARGEST
            with Image.open(io.BytesIO(data)) as shown:
                shown.load()
                assert shown.format == "JPEG"
        assert ("scene" in kinds) is (not is_listed), (passage["camera"], kinds)
    assert not taken, "pictures that no passage names"
    opened = [event["data"]["gate"] for event in cloud.of("gate.opened")]
    assert sorted(opened) == sorted(f"g-{name}" for name in CAMERAS)
