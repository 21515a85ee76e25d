"""What our own retained `alarm/active` gives away: a store put back as a whole, or lost and come back."""

import shutil
from pathlib import Path

import pytest

from tests.reliability.compound import BATTERY, World, world


def no_number_has_two_ids(it: World) -> None:
    numbers: dict[tuple[str, str, str], str] = {}
    for one in it.cloud.events:
        if "sequence" in one:
            assert numbers.setdefault((one["journal"], one["stream"], one["sequence"]), one["id"]) == one["id"]


async def told(it: World) -> dict[str, object]:
    await it.cloud.until(lambda seen: bool(seen.of("store.rolled-back")))
    (event,) = it.cloud.of("store.rolled-back")
    assert event["journal"] != event["data"]["journal"]
    data: dict[str, object] = event["data"]
    return data


async def test_a_whole_folder_that_is_put_back_is_noticed(tmp_path: Path) -> None:
    """The mark went back with the journal: only the broker knows."""
    async with world(tmp_path) as it:
        async with it.running() as gateway:
            await it.flip()
            assert (await gateway.stop())[0] == 0
        shutil.copytree(it.store, tmp_path / "backup")
        async with it.running() as gateway:
            await it.flip(2)
            it.served.set(1, 60)
            await it.cloud.until(lambda seen: len(seen.of("alarm.raised", BATTERY)) == 4)
            lost = it.cloud.of("alarm.raised", BATTERY)[-1]["data"]["alarm"]
            await it.cloud.until(lambda seen: int(seen.latest["alarm/active"]["data"]["upto"]) >= 7)
            await gateway.kill()
        shutil.rmtree(it.store)
        shutil.copytree(tmp_path / "backup", it.store)
        async with it.running() as gateway:
            data = await told(it)
            assert data["witness"] == "alarm/active"
            assert data["to"]["alarm"] == 2  # type: ignore[index]
            assert data["from"]["alarm"] >= 7  # type: ignore[index]
            # The occurrence of the life that was lost ends by its id; the condition stands, so there is a new one.
            await it.cloud.until(lambda seen: lost in {one["data"]["alarm"] for one in seen.of("alarm.cleared")})
            await it.cloud.until(lambda seen: len(seen.of("alarm.raised", BATTERY)) == 5)
            await it.cloud.until(
                lambda seen: standing(seen.latest) == {seen.of("alarm.raised", BATTERY)[-1]["data"]["alarm"]}
            )
            active = it.cloud.latest["alarm/active"]["data"]
            assert active["journal"] != data["journal"]
            assert (await gateway.stop())[0] == 0
        no_number_has_two_ids(it)


def standing(latest: dict[str, dict[str, object]]) -> set[str]:
    return {
        one["alarm"]
        for one in latest["alarm/active"]["data"]["alarms"]  # type: ignore[index]
        if one["name"] == "battery"
    }


async def test_a_copy_from_before_a_restart_is_noticed_though_no_alarm_happened(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        async with it.running() as gateway:
            await it.flip()
            assert (await gateway.stop())[0] == 0
        shutil.copytree(it.store, tmp_path / "backup")
        async with it.running() as gateway:
            await it.cloud.until(lambda seen: len(seen.of("gateway.started")) == 2)
            assert (await gateway.stop())[0] == 0
        shutil.rmtree(it.store)
        shutil.copytree(tmp_path / "backup", it.store)
        async with it.running() as gateway:
            assert (await told(it))["witness"] == "alarm/active"
            assert (await gateway.stop())[0] == 0
        no_number_has_two_ids(it)


async def test_a_lost_store_that_comes_back_gives_no_number_again(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        async with it.running() as gateway:
            await it.flip()
            it.store.rename(tmp_path / "away")
            it.store.write_text("in the way")
            await it.flip(3)
            await it.until_told("alarm.raised", "gateway/store")
            await it.cloud.until(lambda seen: seen.latest["alarm/active"]["data"].get("stored") is False)
            await gateway.kill()
        it.store.unlink()
        (tmp_path / "away").rename(it.store)
        async with it.running() as gateway:
            assert (await told(it))["witness"] == "alarm/active"
            await it.flip()
            assert (await gateway.stop())[0] == 0
        no_number_has_two_ids(it)


async def test_a_restart_is_no_reason_for_a_new_journal(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        for end in ("stop", "kill", "stop"):
            async with it.running() as gateway:
                await it.flip()
                await (gateway.stop() if end == "stop" else gateway.kill())
        async with it.running() as gateway:
            await it.flip()
            assert (await gateway.stop())[0] == 0
        assert len({one["journal"] for one in it.cloud.events if "journal" in one}) == 1
        assert not it.cloud.of("store.rolled-back")
        it.must_be_whole()


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_it_works_with_either_protocol(tmp_path: Path, protocol: str) -> None:
    async with world(tmp_path) as it:
        text = it.site.read_text().replace('"}\nlines', f'", protocol: "{protocol}"}}\nlines')
        it.site.write_text(text)
        async with it.running() as gateway:
            await it.flip()
            assert (await gateway.stop())[0] == 0
        shutil.copytree(it.store, tmp_path / "backup")
        async with it.running() as gateway:
            await it.flip(2)
            assert (await gateway.stop())[0] == 0
        shutil.rmtree(it.store)
        shutil.copytree(tmp_path / "backup", it.store)
        async with it.running() as gateway:
            await told(it)
            await it.flip(2)
            assert (await gateway.stop())[0] == 0
        no_number_has_two_ids(it)
