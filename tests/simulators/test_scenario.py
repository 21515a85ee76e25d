"""Scenarios: read strictly, played on time."""

import asyncio
from pathlib import Path

import pytest

from gateway.config.load import load as load_site
from gateway.errors import ConfigError
from simulators.scenario import Scenario, ScenarioStep, load, misfits, play
from simulators.site import VirtualSite
from tests.simulators.sites import bus_site

_CONFIG = Path(__file__).parents[2] / "config"


def _scenario(tmp_path: Path, text: str) -> Scenario:
    (tmp_path / "night.yaml").write_text(text)
    return load(tmp_path / "night.yaml")


async def _until(site: VirtualSite, point: str, value: object) -> float:
    async with asyncio.timeout(2):
        while site.value(point) != value:
            await asyncio.sleep(0.001)
    return asyncio.get_running_loop().time()


async def test_everything_happens_when_it_is_due(tmp_path: Path) -> None:
    scenario = _scenario(
        tmp_path,
        """
steps:
  - {at: 400ms, restore: [one, two], line_up: bus, set: {relay.do1: true}}
  - {at: 0s, set: {one.v3: 7, two.v4: 8}, delay: {one: 250ms}}
  - {at: 200ms, silence: one, garble: [two], line_down: bus, set: {one.v0: 1}}
""",
    )
    async with VirtualSite(bus_site()) as site, asyncio.TaskGroup() as group:
        begin = asyncio.get_running_loop().time()
        group.create_task(play(site, scenario), name="play")
        await _until(site, "one.v3", 7)
        assert (site.value("two.v4"), site.faults("one").delay) == (8, 0.25)
        assert await _until(site, "one.v0", 1) - begin >= 0.2
        assert (site.faults("one").silent, site.faults("two").garble) == (True, "flip")
        assert not Path(site.addresses["bus"]).exists()
        assert await _until(site, "relay.do1", value=True) - begin >= 0.4
        assert (site.faults("one").silent, site.faults("one").delay, site.faults("two").garble) == (False, 0.0, None)
        assert Path(site.addresses["bus"]).exists()


async def test_a_scenario_may_repeat(tmp_path: Path) -> None:
    text = "repeat: 60ms\nsteps:\n  - {at: 0s, set: {one.v0: 1}}\n  - {at: 20ms, set: {one.v0: 0}}\n"
    scenario = _scenario(tmp_path, text)

    async with VirtualSite(bus_site()) as site, asyncio.TaskGroup() as group:
        begin = asyncio.get_running_loop().time()
        playing = group.create_task(play(site, scenario), name="play")
        await _until(site, "one.v0", 1)
        await _until(site, "one.v0", 0)
        again = await _until(site, "one.v0", 1)
        playing.cancel()

    assert again - begin >= 0.06


async def test_what_the_site_does_not_have_is_named_before_anything_happens(tmp_path: Path) -> None:
    scenario = _scenario(
        tmp_path,
        """
steps:
  - {at: 0s, set: {one.v0: 1}}
  - {at: 1s, silence: [one, tow], line_down: buss}
  - {at: 2s, set: {one.v99: 1, one.v1: alarm, two.v1: 70000}, delay: {three: 1s}}
""",
    )
    async with VirtualSite(bus_site()) as site:
        with pytest.raises(ConfigError) as caught:
            await play(site, scenario)
        assert site.value("one.v0") == 0

    assert str(caught.value).splitlines() == [
        "night.yaml: step 2: silence: no device 'tow'; did you mean 'two'?",
        "night.yaml: step 2: line_down: no Modbus line 'buss'; did you mean 'bus'?",
        "night.yaml: step 3: delay: no device 'three'",
        "night.yaml: step 3: set: one.v99: no point of one 'v99'; did you mean 'v9'?",
        "night.yaml: step 3: set: one.v1: 'alarm' is no word of this point",
        "night.yaml: step 3: set: two.v1: 70000 does not fit uint16",
    ]


@pytest.mark.parametrize("case", sorted((Path(__file__).parent / "cases").glob("*.yaml")), ids=lambda path: path.stem)
def test_mistakes_are_named(case: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(case)

    assert str(caught.value) + "\n" == case.with_suffix(".txt").read_text()


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no\.yaml: No such file"):
        load(tmp_path / "no.yaml")


@pytest.mark.parametrize("path", sorted((_CONFIG / "scenarios").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_scenarios_fit_the_example(path: Path) -> None:
    site = load_site(_CONFIG / "example.yaml").site
    assert site is not None
    scenario = load(path)

    assert scenario.steps
    assert misfits(VirtualSite(site), scenario) == []


def test_steps_can_be_made_without_a_file() -> None:
    scenario = Scenario("made", (ScenarioStep(0.0, 1, set={"one.v0": 1}), ScenarioStep(1.0, 2, line_down=("bus",))))

    assert misfits(VirtualSite(bus_site()), scenario) == []
