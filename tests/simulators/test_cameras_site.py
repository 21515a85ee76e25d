"""The cameras of a site file: served from it, steered by scenarios."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.config.load import load as load_site
from gateway.config.site import SiteFile
from simulators.cameras.places import setups
from simulators.scenario import load, misfits, play
from simulators.site import VirtualSite
from tests.simulators.desk import Desk
from tests.simulators.sites import RELAY, site_of

_EXAMPLE = Path(__file__).parents[2] / "config" / "example.yaml"


def _example() -> SiteFile:
    site = load_site(_EXAMPLE).site
    assert site is not None
    return site


def _desk(site: VirtualSite) -> Desk:
    """Listens where the cameras look for the gateway."""
    makers = {camera.setup.address: camera.setup.driver for camera in site.cameras.values()}
    return Desk("generic", port=int(site.camera_listener.rpartition(":")[2]), by_address=makers)


async def test_each_camera_pushes_from_an_address_of_its_own_with_its_token() -> None:
    async with VirtualSite(_example(), latency=0.0) as site, _desk(site) as desk:
        north, south = site.camera("lpr-north-in"), site.camera("lpr-north-out")
        await north.sees("沪A12345")
        await south.sees("沪A54321")

        assert north.setup.address != south.setup.address
        assert desk.plates(north) == ["沪A12345"]
        assert desk.plates(south) == ["沪A54321"]
        assert desk.of(north)[0].path == f"/cameras/lpr-north-in?token={north.setup.token}"
        assert len({north.setup.token, south.setup.token, north.setup.password}) == 3


async def test_the_gateway_finds_pictures_where_the_written_site_says(tmp_path: Path) -> None:
    async with VirtualSite(_example(), latency=0.0) as site:
        site.write_site(_EXAMPLE, tmp_path / "sim.yaml", broker_url="mqtt://127.0.0.1:1", store_path=tmp_path)
        written = load_site(tmp_path / "sim.yaml").site
        assert written is not None
        north, yard = written.cameras["lpr-north-in"], written.cameras["yard"]
        assert north.password is not None
        assert north.password.file is not None
        assert yard.snapshot is not None
        digest = aiohttp.DigestAuthMiddleware(north.username or "", north.password.file.read_text().strip())
        async with aiohttp.ClientSession() as session:
            async with session.get(yard.snapshot) as response:
                assert (response.status, response.content_type) == (200, "image/jpeg")
            url = f"http://{north.address}/ISAPI/Streaming/channels/1/picture"
            async with session.get(url) as response:
                assert response.status == 401
            async with session.get(url, middlewares=(digest,)) as response:
                assert (response.status, response.content_type) == (200, "image/jpeg")


async def test_a_scenario_makes_cars_pass_and_pulls_cables(tmp_path: Path) -> None:
    car = "{camera: lpr-north-in, plate: 沪A12345, confidence: 91, direction: reverse, colour: white}"
    (tmp_path / "car.yaml").write_text(f"steps: [{{at: 0s, car: {car}}}]\n", encoding="utf-8")
    (tmp_path / "cars.yaml").write_text(
        """
steps:
  - {at: 0s, camera_offline: lpr-north-in}
  - {at: 10ms, car: [{camera: lpr-north-in}, {camera: lpr-north-out, plate: 沪A54321}]}
  - {at: 50ms, camera_online: lpr-north-in}
""",
        encoding="utf-8",
    )
    async with VirtualSite(_example(), latency=0.0) as site, _desk(site) as desk:
        north, south = site.camera("lpr-north-in"), site.camera("lpr-north-out")
        await north.until(lambda it: any(one.right for one in it.heartbeats))
        await play(site, load(tmp_path / "car.yaml"))
        await north.until(lambda it: not it.pending)
        await play(site, load(tmp_path / "cars.yaml"))
        await north.until(lambda it: not it.pending)
        await south.until(lambda it: not it.pending)

        first, second = (one.capture for one in desk.of(north))
        assert (first.plate_raw, first.confidence, first.turn, first.colour) == ("沪A12345", 91.0, "reverse", "white")
        assert not first.history
        assert (second.plate_raw, second.history) == ("unknown", True)
        assert desk.plates(south) == ["沪A54321"]


def test_a_scenario_for_cameras_that_are_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cars.yaml").write_text(
        "steps:\n  - {at: 0s, car: [{camera: lpr-north-inn}, {camera: yard}], camera_offline: [yard, garden]}\n"
    )

    assert misfits(VirtualSite(_example()), load(tmp_path / "cars.yaml")) == [
        "cars.yaml: step 1: camera_offline: no camera 'garden'; did you mean 'yard'?",
        "cars.yaml: step 1: car: camera: no plate camera 'lpr-north-inn'; did you mean 'lpr-north-in'?",
        "cars.yaml: step 1: car: camera: no plate camera 'yard'",
    ]


def _site(count: int, **camera: Any) -> SiteFile:
    cameras = {f"c{n}": {"driver": "dahua", "mode": "push", "address": "10.0.0.1", **camera} for n in range(count)}
    return site_of({"bus": {"serial": "/dev/x"}}, {"relay": {"line": "bus", "unit": 1, "points": RELAY}},
                   cameras=cameras, http={"cameras": {"listen": "0.0.0.0:8080"}})  # fmt: skip


def test_every_camera_has_another_loopback_address() -> None:
    addresses = [setup.address for setup in setups(_site(600)).values()]

    assert len(set(addresses)) == 600
    assert all(one.startswith("127.0.") and one != "127.0.0.1" for one in addresses)
    assert all(0 < int(part) < 255 for one in addresses for part in one.split(".")[3:])


@pytest.mark.parametrize(
    ("written", "seconds"), [("+08:00", 28_800.0), ("-03:30", -12_600.0), ("+00:00", 0.0), (None, 0.0)]
)
def test_the_cameras_clock_is_that_of_the_file(written: str | None, seconds: float) -> None:
    assert setups(_site(1, utc_offset=written))["c0"].utc_offset == seconds


def test_an_unwritten_secret_is_none() -> None:
    setup = setups(_site(1))["c0"]
    assert (setup.username, setup.password, setup.token) == (None, None, None)


async def test_simulate_names_the_cameras(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "simulate", str(_EXAMPLE), "--out", str(tmp_path / "sim.yaml"),
        "--scenario", str(_EXAMPLE.parent / "scenarios" / "cars.yaml"), stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2], env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    said: list[str] = []
    async with asyncio.timeout(20):
        while not said or not said[-1].startswith("run it with"):
            said.append((await process.stdout.readline()).decode())
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0

    written = load_site(tmp_path / "sim.yaml").site
    assert written is not None
    assert written.http is not None
    assert written.http.cameras is not None
    place = f"http://{written.http.cameras.listen}"
    for name, pushes in (("lpr-north-in", f", pushes to {place}"), ("yard", "")):
        assert f"camera {name}: {written.cameras[name].address}{pushes}\n" in said
