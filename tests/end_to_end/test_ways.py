"""docs/architecture.md says which way a datum goes: the real gateway goes it, and every call is recorded."""

import os
import re
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import orjson
import pytest

from tests.end_to_end import following
from tests.end_to_end.camera_site import LISTED, camera_site, site_text
from tests.end_to_end.compound import compound
from tests.end_to_end.process import running

PAGE = Path(__file__).parents[2] / "docs" / "architecture.md"
TO_THE_INBOX = 8


def ways() -> dict[str, list[str]]:
    """By heading, the steps as the record names them."""
    found = {}
    for part in re.split(r"^### ", PAGE.read_text(), flags=re.MULTILINE)[1:]:
        steps = re.findall(r"^\d+\. `(\S+)` `(\w+)` ", part, re.MULTILINE)
        found[part.partition("\n")[0]] = [f"{file} {function}" for file, function in steps]
    return found


def missing(way: list[str], record: list[str]) -> str | None:
    """The last step that was not called before those that follow it; None: the way was gone."""
    end = len(record)
    for step in reversed(way):
        end = next((at for at in range(end - 1, -1, -1) if record[at] == step), -1)
        if end < 0:
            return step
    return None


async def recorded(
    site: Path, ready: Callable[[], Awaitable[object]], act: Callable[[], Awaitable[object]]
) -> list[str]:
    """What the gateway calls from `act` on."""
    calls = site.with_suffix(".calls")
    async with running(site, (following.__file__, str(calls))) as gateway:
        await ready()
        os.kill(gateway.pid, signal.SIGUSR1)
        await act()
        await gateway.stop()
    record: list[str] = orjson.loads(calls.read_bytes())
    return record


@pytest.mark.parametrize(
    ("way", "most"),
    [
        ("A register answer becomes a PUBLISH", 16),
        ("A plate opens a gate and becomes an event", 24),
        ("A command comes and its reply goes", 24),
    ],
)
def test_a_way_is_short(way: str, most: int) -> None:
    files = [step.partition(" ")[0] for step in ways()[way]]
    assert len(files) > 10
    assert len(set(files)) <= most


def test_an_answer_is_in_the_inbox_after_eight_files() -> None:
    files = [step.partition(" ")[0] for step in ways()["A register answer becomes a PUBLISH"]]
    assert files.index("gateway/runtime/inbox.py") < TO_THE_INBOX


def test_a_step_that_is_not_called_would_be_noticed() -> None:
    assert missing(["a f", "b g"], ["b g", "a f", "x", "b g"]) is None
    assert missing(["a f", "b g"], ["b g", "a f"]) == "a f"
    assert missing(["a f", "b g", "c h"], ["a f", "c h"]) == "b g"


async def test_the_way_of_a_register_and_of_a_command_are_those_of_the_page(tmp_path: Path) -> None:
    async with compound(tmp_path) as it:

        async def ready() -> None:
            await it.online()
            await it.until_well("smoke-1")

        async def fire() -> None:
            it.virtual.set("smoke-1.smoke", 1)
            await it.cloud.until(lambda seen: bool(seen.of("alarm.raised", "smoke-1/smoke/fire")))

        async def ask() -> None:
            assert (await it.command("gate.open", gate="north"))["ok"]

        of_register = await recorded(it.site, ready, fire)
        it.virtual.set("smoke-1.smoke", 0)
        of_command = await recorded(it.site, ready, ask)
    assert missing(ways()["A register answer becomes a PUBLISH"], of_register) is None
    assert missing(ways()["A command comes and its reply goes"], of_command) is None


async def test_the_way_of_a_plate_is_that_of_the_page(tmp_path: Path) -> None:
    text = site_text({"gate": "driver: hikvision, token: {file: camera.token}"})
    async with camera_site(tmp_path, text) as site:

        async def car() -> None:
            await site.sees("gate", LISTED)
            await site.passages(1)

        record = await recorded(site.it.site, site.ready, car)
    assert missing(ways()["A plate opens a gate and becomes an event"], record) is None
