"""What people do about alarms: acknowledge, verify, reset, shelve, disable; the clocks; the sound."""

import pytest

from gateway.model import Emit, OwnHealth, Person
from gateway.site.settings import OWN_ALARMS, DeviceReset, Ref
from tests.site.compound import Compound, with_reset

FIRE = "smoke-1/fire/fire"
LOW = "gauge/level/low"


def low(site: Compound) -> str:
    site.input("gauge.level", 0.5)
    site.wait(0.1)
    return str(site.alarm(LOW)["alarm"])


def fire(site: Compound) -> str:
    site.burn("smoke-1")
    return str(site.alarm(FIRE)["alarm"])


def told(site: Compound, subject: str) -> list[str]:
    return [event.type for event in site.events if event.subject == subject]


# ---- acknowledge, verify ---------------------------------------------------------------------------


def test_acknowledge_says_that_a_person_has_seen_it() -> None:
    site = Compound()
    alarm = low(site)

    reply = site.command("alarm.acknowledge", alarm=alarm, note="on my way")
    data = site.alarm(LOW)

    assert reply["result"] == {"alarm": alarm, "state": "ack"}
    assert (data["state"], data["acknowledged"], data["acknowledged_by"]) == ("ack", True, "li")
    assert data["acknowledged_at"] is not None
    assert site.command("alarm.acknowledge", alarm=alarm)["ok"], "again: nothing new"
    assert told(site, LOW) == ["alarm.raised", "alarm.acknowledged"]


def test_a_latched_alarm_that_has_cleared_is_acknowledged_as_such() -> None:
    site = Compound()
    alarm = low(site)
    site.input("gauge.level", 5.0)

    site.person("alarm.acknowledge", alarm=alarm)

    assert site.alarm(LOW)["state"] == "latched-ack"
    assert site.alarm(LOW)["acknowledged_by"] == "wang"


def test_a_return_takes_the_acknowledgement_back() -> None:
    site = Compound()
    alarm = low(site)
    site.command("alarm.acknowledge", alarm=alarm)
    site.input("gauge.level", 5.0)
    site.wait(1)

    site.input("gauge.level", 0.5)

    data = site.alarm(LOW)
    assert (data["alarm"], data["state"], data["acknowledged"]) == (alarm, "unack", False)


@pytest.mark.parametrize("result", ["real", "false", "test", "unknown"])
def test_verify_says_what_it_was(result: str) -> None:
    site = Compound()
    alarm = fire(site)

    assert site.command("alarm.verify", alarm=alarm, result=result, cause="steam")["ok"]

    assert site.alarm(FIRE)["verified_as"] == result
    assert told(site, FIRE)[-1] == "alarm.verified"


# ---- reset -----------------------------------------------------------------------------------------


def test_a_reset_needs_a_good_reading_with_the_condition_gone() -> None:
    site = Compound()
    alarm = low(site)
    before = site.now

    reply = site.command("alarm.reset", alarm=alarm, note="refilled")

    assert reply["error"]["code"] == "interlocked"
    assert 19 <= site.now - before <= 21, "it looked for 20 s"
    assert site.alarm(LOW)


def test_a_reset_looks_again_for_20_seconds() -> None:
    site = Compound()
    alarm = low(site)
    site.after(12, lambda: site.points.__setitem__(Ref("gauge", "level"), 5.0))

    assert site.command("alarm.reset", alarm=alarm)["ok"]
    assert told(site, LOW) == ["alarm.raised", "alarm.cleared", "alarm.reset"]


def test_a_reset_acknowledges_and_says_so() -> None:
    site = Compound()
    alarm = low(site)
    site.input("gauge.level", 5.0)

    site.command("alarm.reset", alarm=alarm)

    reset = site.told("alarm.reset")[0].data
    assert (reset["state"], reset["active"], reset["acknowledged"], reset["acknowledged_by"]) == (
        "normal",
        False,
        True,
        "li",
    )
    assert not site.alarm(LOW)


def test_a_reset_of_a_silent_device_is_interlocked() -> None:
    site = Compound()
    alarm = low(site)
    site.input("gauge.level", 5.0)
    site.fall_silent("gauge")

    assert site.command("alarm.reset", alarm=alarm)["error"]["code"] == "interlocked"
    assert site.alarm(LOW)


def test_what_is_not_latched_ends_by_itself() -> None:
    site = Compound()
    site.input("tank.level", 0.5)

    reply = site.command("alarm.reset", alarm=site.alarm("tank/level/low")["alarm"])

    assert reply["error"]["code"] == "interlocked"


def test_a_fire_is_reset_from_afar_only_with_fire_reset() -> None:
    site = Compound()
    alarm = fire(site)
    site.input("smoke-1.fire", 0)

    assert site.command("alarm.reset", alarm=alarm, allow=frozenset({"alarm.reset"}))["error"]["code"] == "not-allowed"
    assert site.command("alarm.reset", alarm=alarm, allow=frozenset({"alarm.reset", "fire.reset"}))["ok"]


def test_a_device_that_latches_is_reset_first_by_its_point() -> None:
    site = Compound(with_reset(DeviceReset(Ref("smoke-1", "reset"), 1)))
    alarm = fire(site)
    site.on_write = lambda ref, _value: site.points.__setitem__(Ref(ref.device, "fire"), 0)

    assert site.command("alarm.reset", alarm=alarm)["ok"]

    assert site.writes("smoke-1.reset") == [1]


def test_a_device_that_latches_is_reset_first_by_its_supply() -> None:
    site = Compound(with_reset(DeviceReset(Ref("board", "do7"), off=5.0)))
    site.points[Ref("board", "do7")] = 1
    alarm = fire(site)
    site.on_write = lambda _ref, value: site.points.__setitem__(Ref("smoke-1", "fire"), 0) if not value else None

    assert site.command("alarm.reset", alarm=alarm)["ok"]

    off, on = (at for at, ref, _ in site.wire if ref == "board.do7")
    assert 4.9 <= on - off <= 5.2
    assert site.on("board.do7")
    assert "supply/smoke-1" not in site.memory


def test_a_supply_that_was_taken_away_is_given_back_after_a_crash() -> None:
    site = Compound(with_reset(DeviceReset(Ref("board", "do7"), off=5.0)))
    site.points[Ref("board", "do7")] = 1
    alarm = fire(site)
    site.person("alarm.acknowledge", alarm=alarm)
    site.feed(Person("p", "wang", "guard", "alarm.reset", {"alarm": alarm}, site.instant()))
    site.wait(2)
    assert not site.on("board.do7")

    site.crash()
    site.wait(2)

    assert site.on("board.do7")
    assert "supply/smoke-1" not in site.memory


# ---- shelve ----------------------------------------------------------------------------------------


def test_shelving_ends_by_time() -> None:
    site = Compound()
    low(site)

    reply = site.command("alarm.shelve", device="gauge.level.low", for_="2h", note="pump repair")
    data = site.alarm(LOW)
    assert (data["shelved"], data["shelved_until"]) == (True, reply["result"]["until"])
    site.wait(7201)

    assert site.alarm(LOW)["shelved"] is False
    assert [kind for kind in told(site, LOW) if "shelved" in kind] == ["alarm.shelved", "alarm.unshelved"]


def test_shelving_for_0s_ends_it() -> None:
    site = Compound()
    low(site)
    site.command("alarm.shelve", device="gauge", for_="2h")

    site.command("alarm.shelve", device="gauge", for_="0s")

    assert site.alarm(LOW)["shelved"] is False


def test_an_alarm_that_is_raised_on_a_shelf_is_born_shelved() -> None:
    site = Compound()
    site.command("alarm.shelve", device="gauge.level", for_="2h")

    low(site)

    assert site.alarm(LOW)["shelved"] is True


@pytest.mark.parametrize(
    ("target", "shelved"), [("smoke-1", False), ("smoke-1.fire", False), ("smoke-1.fire.fire", True)]
)
def test_a_fire_is_shelved_only_by_its_full_name(target: str, shelved: bool) -> None:
    site = Compound()
    site.command("alarm.shelve", device=target, for_="1h")

    fire(site)

    assert site.alarm(FIRE)["shelved"] is shelved


def test_a_shelf_survives_a_restart_with_the_time_that_remained() -> None:
    site = Compound()
    low(site)
    site.command("alarm.shelve", device="gauge", for_="2h")
    site.wait(3600)
    site.stop()

    site.wait(3500)
    assert site.alarm(LOW)["shelved"] is True
    site.wait(200)

    assert site.alarm(LOW)["shelved"] is False


@pytest.mark.parametrize("jump", [-10 * 365 * 86400.0, 3600.0, 10 * 365 * 86400.0])
def test_a_step_of_the_clock_changes_no_deadline(jump: float) -> None:
    site = Compound()
    low(site)
    site.command("alarm.shelve", device="gauge", for_="2h")

    site.shift += jump
    site.wait(7100)
    assert site.alarm(LOW)["shelved"] is True
    site.wait(200)

    assert site.alarm(LOW)["shelved"] is False


@pytest.mark.parametrize("jump", [-10 * 365 * 86400.0, 10 * 365 * 86400.0])
def test_an_unsynced_clock_after_a_restart_is_not_believed(jump: float) -> None:
    site = Compound()
    low(site)
    site.command("alarm.shelve", device="gauge", for_="2h")
    site.wait(3600)
    site.shift, site.synced = jump, False
    site.crash()

    site.wait(3000)
    assert site.alarm(LOW)["shelved"] is True
    site.wait(1000)

    assert site.alarm(LOW)["shelved"] is False


def test_the_time_without_a_process_counts_where_the_clock_is_trusted() -> None:
    site = Compound()
    low(site)
    site.command("alarm.shelve", device="gauge", for_="2h")
    site.heap.clear()
    site.now += 3 * 3600
    site.crash()
    site.wait(0.1)

    assert site.alarm(LOW)["shelved"] is False


# ---- disable ---------------------------------------------------------------------------------------


def test_a_disabled_device_has_a_standing_alarm_that_says_so() -> None:
    site = Compound()

    site.command("device.disable", device="smoke-1", for_="12h", reason="dust")

    assert site.alarm("smoke-1/disabled")["kind"] == "disabled"
    event = site.told("device.disabled")[0]
    assert (event.subject, event.data["reason"], event.data["by"]) == ("smoke-1", "dust", "li")
    assert event.data["until"] == "2026-11-18T23:06:40.000000Z"
    site.wait(12 * 3600 + 1)
    assert not site.alarm("smoke-1/disabled")
    assert site.told("device.enabled")


def test_enable_ends_it() -> None:
    site = Compound()
    site.command("device.disable", device="smoke-1", for_="12h", reason="dust")

    site.command("device.enable", device="smoke-1")

    assert not site.alarm("smoke-1/disabled")
    assert site.told("device.enabled")[0].data["by"] == "li"


def test_a_device_in_fire_is_not_disabled() -> None:
    site = Compound()
    fire(site)

    assert site.command("device.disable", device="smoke-1", for_="1h", reason="x")["error"]["code"] == "interlocked"


def test_a_disabled_device_stays_so_over_a_restart() -> None:
    site = Compound()
    site.command("device.disable", device="smoke-1", for_="2h", reason="dust")

    site.crash()
    site.burn("smoke-1", "smoke-2")
    site.wait(5)

    assert not site.on("board.do3")
    assert site.alarm("smoke-1/disabled")


# ---- clocks ----------------------------------------------------------------------------------------


def test_each_service_clock_is_told_once() -> None:
    site = Compound()
    low(site)
    site.person("silence")

    site.wait(20 * 60 - 2)
    assert site.told("alarm.overdue") == []
    site.wait(2)
    assert site.alarm(LOW)["overdue"] is True
    site.wait(5 * 3600)

    assert len(site.told("alarm.overdue")) == 2, "answered in 20 min, solved in 4 h"
    site.wait(100 * 3600)
    assert len(site.told("alarm.overdue")) == 2


def test_an_acknowledged_alarm_is_answered() -> None:
    site = Compound()
    site.command("alarm.acknowledge", alarm=low(site))

    site.wait(3 * 3600)
    assert site.told("alarm.overdue") == []
    site.wait(2 * 3600)

    assert len(site.told("alarm.overdue")) == 1


def test_a_fire_is_to_be_verified_within_three_minutes() -> None:
    late, early = Compound(), Compound()
    fire(late)
    early.command("alarm.verify", alarm=fire(early), result="real")

    late.wait(181)
    early.wait(1000)

    assert [event.subject for event in late.told("alarm.overdue")] == [FIRE]
    assert early.told("alarm.overdue") == []


def test_a_clock_survives_a_restart() -> None:
    site = Compound()
    low(site)
    site.wait(15 * 60)

    site.crash()
    site.wait(4 * 60)
    assert site.told("alarm.overdue") == []
    site.wait(3 * 60)

    assert len(site.told("alarm.overdue")) == 1


# ---- sound -----------------------------------------------------------------------------------------


def test_silence_stops_the_sound_only() -> None:
    site = Compound()
    fire(site)
    site.wait(1)
    assert site.on("board.do5")

    site.input("inputs.di4", 1)
    site.wait(1)

    assert not site.on("board.do5")
    assert site.alarm(FIRE)["acknowledged"] is False
    assert site.alarm(FIRE)["active"] is True


def test_the_page_silences_as_well() -> None:
    site = Compound()
    fire(site)

    site.person("silence")
    site.wait(1)

    assert not site.on("board.do5")


def test_acknowledging_does_not_silence() -> None:
    site = Compound()
    site.command("alarm.acknowledge", alarm=fire(site))
    site.wait(1)

    assert site.on("board.do5")


def test_every_new_fire_sounds_again() -> None:
    site = Compound()
    fire(site)
    site.person("silence")
    site.wait(1)

    site.burn("heat-9")
    site.wait(1)

    assert site.on("board.do5")


def test_a_returning_fire_sounds_again() -> None:
    site = Compound()
    fire(site)
    site.person("silence")
    site.input("smoke-1.fire", 0)
    site.wait(1)
    assert not site.on("board.do5")

    site.burn("smoke-1")
    site.wait(1)

    assert site.on("board.do5")


def test_fire_sounds_before_fault() -> None:
    site = Compound()
    low(site)
    site.wait(1)
    assert site.on("board.do6")

    fire(site)
    site.wait(1)
    assert (site.on("board.do5"), site.on("board.do6")) == (True, False)
    site.input("smoke-1.fire", 0)
    site.command("alarm.reset", alarm=site.alarm(FIRE)["alarm"])
    site.wait(1)

    assert (site.on("board.do5"), site.on("board.do6")) == (False, True)


def test_a_shelved_alarm_makes_no_sound() -> None:
    site = Compound()
    site.command("alarm.shelve", device="gauge", for_="1h")
    low(site)
    site.wait(1)

    assert not site.on("board.do6")


def test_the_sound_goes_on_after_a_restart_and_a_silence_too() -> None:
    site = Compound()
    fire(site)
    site.wait(1)
    site.crash()
    site.wait(2)
    assert site.on("board.do5")
    assert False not in site.writes("board.do5")
    site.person("silence")
    site.wait(1)
    site.crash()
    site.wait(5)

    assert not site.on("board.do5")


def test_a_fire_that_nobody_hears_of_sounds_again() -> None:
    site = Compound()
    fire(site)
    site.person("silence")
    site.wait(1)

    site.feed(OwnHealth("gateway/not-delivered", False, "no acknowledgement for 10 s", site.instant()))
    site.wait(1)

    assert site.on("board.do5")


# ---- many at once ----------------------------------------------------------------------------------


def test_a_flood_is_recorded_in_full_and_a_fire_is_as_quick_as_ever() -> None:
    site = Compound()
    for n in range(60):
        site.feed(OwnHealth(OWN_ALARMS[n // 6], n % 2 == 1, "x", site.instant()))
        site.wait(0.1)
    before = site.now

    site.burn("smoke-1")

    assert len(site.told("alarm.raised")) == 31
    assert len(site.told("alarm.cleared")) == 30
    raised = site.told("alarm.raised")[-1]
    assert isinstance(raised, Emit)
    assert raised.at.mono - before <= 0.05


def test_the_first_alarm_of_a_zone_is_marked_also_over_a_restart() -> None:
    site = Compound()
    low(site)
    site.crash()

    fire(site)

    assert site.alarm(LOW)["first_out"] is True
    assert site.alarm(FIRE)["first_out"] is False
