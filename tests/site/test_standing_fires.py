"""A fire that stands is ended by people: by no restart, no edit of the file, no test and no device that fell silent."""

from dataclasses import replace
from typing import Any

import pytest

from gateway.site.settings import LinkageSettings, Ref, SiteSettings
from tests.site.compound import Compound, detector, yard

BUTTON = "inputs.di7"


def evacuated(site: Compound) -> bool:
    """Gates and sounders are on."""
    return all(map(site.on, ("board.do2", "board.do3", "board.do4")))


def pressed() -> Compound:
    site = Compound()
    site.input(BUTTON, 1)
    site.wait(3)
    assert evacuated(site)
    return site


def reset(site: Compound, subject: str, *, on_site: bool = False, note: str | None = None) -> str:
    """The code of the refusal; empty: it was reset."""
    alarm = site.alarm(subject)["alarm"]
    ask = site.person if on_site else site.command
    args: dict[str, Any] = {} if note is None else {"note": note}
    answer = ask("alarm.reset", alarm=alarm, **args)
    return "" if answer["ok"] else str(answer["error"]["code"])


def renamed(*devices: str) -> SiteSettings:
    """The yard with other names for these detectors."""
    plan = yard()
    left = {name: one for name, one in plan.devices.items() if name not in devices}
    return yard(devices=left | {f"{name}-new": detector(f"{name}-new") for name in devices})


def edit(site: Compound, plan: SiteSettings) -> None:
    """The process starts anew with another file."""
    for device in plan.devices.values():
        for point in device.points:
            site.points.setdefault(Ref(device.id, point), 0)
    site.plan = plan
    site.stop()
    site.wait(3)


# ---- confirmed by a person -----------------------------------------------------------------------------


@pytest.mark.parametrize("zone", ["b3", "garage", "pumps", "site"])
@pytest.mark.parametrize("clean", [True, False])
def test_a_fire_that_a_person_confirmed_stands_over_a_restart_in_every_zone(zone: str, clean: bool) -> None:
    site = Compound()
    assert site.command("fire.confirm", zone=zone)["ok"]
    site.wait(5)
    before = site.alarm(f"{zone}/confirmed")
    assert evacuated(site)

    for _ in range(2):
        site.stop() if clean else site.crash(lose=False)
        site.wait(5)

    assert site.alarm(f"{zone}/confirmed") == before
    assert evacuated(site)
    assert not site.told("alarm.reset", "gate.released")


# ---- the button ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("restart", [False, True])
def test_the_fire_of_a_pressed_button_is_not_reset_when_its_input_is_silent(restart: bool) -> None:
    site = pressed()
    site.fall_silent("inputs")
    if restart:
        site.stop()

    assert reset(site, "evacuation/button") == "interlocked", "from afar"
    assert reset(site, "evacuation/button", note="let go") == "interlocked", "from afar with a note"
    assert reset(site, "evacuation/button", on_site=True) == "interlocked", "without a note"
    assert evacuated(site)
    assert reset(site, "evacuation/button", on_site=True, note="the input is broken, nothing burns") == ""


def test_the_fire_of_a_button_is_not_reset_before_it_was_read_by_this_process() -> None:
    site = pressed()
    site.crash(lose=False)

    alarm = site.alarm("evacuation/button")["alarm"]
    answer = site.person("alarm.reset", alarm=alarm, note="over")
    assert answer["error"]["code"] == "interlocked"
    site.wait(1)
    assert reset(site, "evacuation/button") == "interlocked", "it is still pressed"

    site.input(BUTTON, 0)
    assert reset(site, "evacuation/button") == ""


def test_a_button_that_was_let_go_before_its_input_fell_silent_needs_a_reading_all_the_same() -> None:
    site = pressed()
    site.input(BUTTON, 0)
    site.fall_silent("inputs")

    assert reset(site, "evacuation/button") == "interlocked"
    site.come_back("inputs")
    assert reset(site, "evacuation/button") == ""


# ---- a test --------------------------------------------------------------------------------------------


def test_a_detector_that_burns_in_a_test_is_not_disabled_and_counts_when_the_test_is_over() -> None:
    site = Compound()
    assert site.command("zone.test", zone="b3", for_="10m")["ok"]
    site.burn("smoke-1")

    refused = site.command("device.disable", device="smoke-1", for_="12h")
    assert refused["error"]["code"] == "interlocked"
    site.command("zone.test", zone="b3", for_="0s")
    site.wait(5)
    site.burn("smoke-2")
    site.wait(1)

    assert evacuated(site)


def test_a_detector_whose_smoke_of_a_test_is_gone_may_be_disabled() -> None:
    site = Compound()
    site.command("zone.test", zone="b3", for_="10m")
    site.burn("smoke-1")
    site.input("smoke-1.fire", 0)
    site.wait(1)

    assert site.command("device.disable", device="smoke-1", for_="1h")["ok"]


# ---- the file is edited --------------------------------------------------------------------------------


def test_a_fire_whose_detector_left_the_file_stands_until_a_person_on_site_resets_it() -> None:
    site = Compound()
    site.burn("smoke-1", "smoke-2")
    site.wait(3)
    before = site.alarm("smoke-1/fire/fire")

    edit(site, renamed("smoke-1", "smoke-2"))
    edit(site, renamed("smoke-1", "smoke-2"))

    assert evacuated(site)
    assert site.alarm("smoke-1/fire/fire") == before
    assert not site.told("alarm.reset", "alarm.cleared", "gate.released")
    assert reset(site, "smoke-1/fire/fire") == "interlocked", "from afar, whatever the key may"
    assert reset(site, "smoke-1/fire/fire", on_site=True) == "interlocked", "no reading, so a note"
    assert reset(site, "smoke-1/fire/fire", on_site=True, note="looked, it is out") == ""
    assert evacuated(site), "the other one stands"
    assert reset(site, "smoke-2/fire/fire", on_site=True, note="looked, it is out") == ""
    site.wait(1)

    assert site.gate("south")["commanded"] == "held-after-fire"
    assert not [key for key in site.memory if key.startswith("alarm/smoke")]


def test_a_fire_whose_detector_left_the_file_counts_as_one_of_two() -> None:
    site = Compound()
    site.burn("smoke-1")
    edit(site, renamed("smoke-1"))
    assert not evacuated(site)

    site.burn("smoke-2")
    site.wait(1)

    assert evacuated(site)


def test_a_detector_that_comes_back_into_the_file_has_its_fire_again() -> None:
    site = Compound()
    site.burn("smoke-1")
    before = site.alarm("smoke-1/fire/fire")
    edit(site, renamed("smoke-1"))

    edit(site, yard())
    site.input("smoke-1.fire", 0)

    assert site.alarm("smoke-1/fire/fire")["alarm"] == before["alarm"]
    assert reset(site, "smoke-1/fire/fire") == "", "by a reading"


def test_a_fire_of_a_test_whose_detector_left_the_file_is_one_when_the_test_is_over() -> None:
    site = Compound()
    site.command("zone.test", zone="b3", for_="10m")
    site.burn("smoke-1", "smoke-2")
    edit(site, renamed("smoke-1", "smoke-2"))
    assert not evacuated(site)

    site.command("zone.test", zone="b3", for_="0s")
    site.wait(1)

    assert evacuated(site)


def test_the_fire_of_a_button_whose_linkage_left_the_file_is_reset_on_site_with_a_note() -> None:
    site = pressed()
    edit(site, yard(linkages=(LinkageSettings("other", hold=("north", "south")),)))

    assert reset(site, "evacuation/button") == "interlocked"
    assert reset(site, "evacuation/button", on_site=True, note="let go") == ""


def test_what_is_no_fire_and_left_the_file_ends() -> None:
    plan = yard()
    site = Compound(plan)
    site.input("gauge.level", 0.5)
    site.wait(1)
    assert site.alarm("gauge/level/low")

    edit(site, replace(plan, devices={name: one for name, one in plan.devices.items() if name != "gauge"}))

    assert not site.alarm("gauge/level/low")
    assert site.told("alarm.reset")[-1].data["text"] == "no longer in the site file"
