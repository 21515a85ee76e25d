"""The unit, its users, directories, modules and udev rules, judged by systemd's own tools."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SYSTEMD = Path(__file__).parent.parent / "systemd"
UNIT = SYSTEMD / "site-gateway.service"


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


def exposure(unit: Path) -> tuple[float, dict[str, dict[str, object]]]:
    """What `systemd-analyze security` says of a unit file: the overall figure, and each finding by name."""
    text = run("systemd-analyze", "security", "--offline=yes", "--no-pager", unit)
    overall = re.search(r"exposure level for \S+: ([0-9.]+)", text.stdout)
    assert overall, text.stdout + text.stderr
    findings = run("systemd-analyze", "security", "--offline=yes", "--no-pager", "--json=short", unit)
    return float(overall[1]), {finding["json_field"]: finding for finding in json.loads(findings.stdout)}


def settings(unit: Path) -> dict[str, list[str]]:
    told: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            told.setdefault(key, []).append(value)
    return told


def installed(directory: Path, *parts: Path) -> Path:
    """The unit as if installed: with a program that exists, and drop-ins appended."""
    text = "\n".join(part.read_text() for part in (UNIT, *parts))
    unit = directory / UNIT.name
    unit.write_text(re.sub(r"^ExecStart=\S+", f"ExecStart={shutil.which('true')}", text, flags=re.MULTILINE))
    return unit


def test_the_unit_is_exposed_to_little() -> None:
    overall, _ = exposure(UNIT)
    assert overall <= 1.5


def test_systemd_understands_every_line(tmp_path: Path) -> None:
    told = run("systemd-analyze", "verify", "--man=no", installed(tmp_path))
    assert (told.returncode, told.stdout + told.stderr) == (0, "")


def test_a_line_that_systemd_does_not_understand_would_be_noticed(tmp_path: Path) -> None:
    unit = installed(tmp_path)
    unit.write_text(unit.read_text().replace("ProtectHome=yes", "ProtectHomes=yes"))
    told = run("systemd-analyze", "verify", "--man=no", unit)
    assert "ProtectHomes" in told.stderr


def test_it_comes_back_for_ever_and_is_watched() -> None:
    told = settings(UNIT)
    assert told["Type"] == ["notify"]
    assert told["Restart"] == ["always"]
    assert told["StartLimitIntervalSec"] == ["0"]
    assert told["WatchdogSec"] == ["30s"]
    assert told["LimitCORE"] == ["0"]


def test_no_call_that_needs_privileges_is_left() -> None:
    _, findings = exposure(UNIT)
    filters = {name: finding for name, finding in findings.items() if name.startswith("SystemCallFilter_")}
    assert len(filters) >= 10
    assert [name for name, finding in filters.items() if not finding["set"]] == []


def test_the_clock_is_readable_by_drop_in_and_still_not_settable(tmp_path: Path) -> None:
    unit = installed(tmp_path, SYSTEMD / "clock-from-kernel.conf")
    overall, findings = exposure(unit)
    assert overall <= 2.0
    assert "adjtimex is allowed" in str(findings["SystemCallFilter_clock"]["description"])
    assert findings["CapabilityBoundingSet_CAP_SYS_TIME"]["set"] is True
    told = run("systemd-analyze", "verify", "--man=no", unit)
    assert (told.returncode, told.stderr) == (0, "")


def test_the_user_may_open_serial_lines(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    told = run("systemd-sysusers", f"--root={tmp_path}", SYSTEMD / "site-gateway.sysusers")
    assert told.returncode == 0, told.stderr
    users = (tmp_path / "etc/passwd").read_text()
    assert re.search(r"^site-gateway:x:\d+:\d+:site-gateway:/var/lib/site-gateway:\S*nologin$", users, re.MULTILINE)
    groups = (tmp_path / "etc/group").read_text()
    assert re.search(r"^dialout:x:\d+:site-gateway$", groups, re.MULTILINE)


def test_the_service_writes_in_folders_of_its_own_only() -> None:
    lines = [line.split() for line in (SYSTEMD / "site-gateway.tmpfiles").read_text().splitlines() if line[0] != "#"]
    assert ["d", "/etc/site-gateway", "2750", "root", "site-gateway", "-"] in lines
    assert all(line[2:5] == ["0700", "site-gateway", "site-gateway"] for line in lines if line[1].endswith("/site"))
    told = settings(UNIT)
    assert "ReadWritePaths" not in told
    assert told["ProtectSystem"] == ["strict"]
    assert (told["RuntimeDirectory"], told["RuntimeDirectoryMode"]) == (["site-gateway"], ["0750"])
    assert told["RuntimeDirectoryPreserve"] == ["restart"]


def test_the_accounts_that_ask_are_seen_as_they_are() -> None:
    assert "PrivateUsers" not in settings(UNIT), "the peer of the control socket would always be nobody"


def test_without_a_site_file_it_is_skipped() -> None:
    told = settings(UNIT)
    assert told["ExecStart"] == ["/usr/bin/site-gateway run /etc/site-gateway/site.yaml"]
    assert told["ConditionPathExists"] == ["/etc/site-gateway/site.yaml"]


@pytest.mark.parametrize(
    ("text", "status"),
    [("version: 1\n", 1), ("", 1), (None, 1)],
    ids=["wrong", "empty", "missing"],
)
def test_a_wrong_file_is_not_started_again_and_again(tmp_path: Path, text: str | None, status: int) -> None:
    site = tmp_path / "site.yaml"
    if text is not None:
        site.write_text(text)
    assert run(sys.executable, "-m", "gateway", "run", site).returncode == status
    assert str(status) in settings(UNIT)["RestartPreventExitStatus"][0].split()


def test_a_wrong_file_on_trial_is_started_again_to_be_put_back(tmp_path: Path) -> None:
    old, new = "version: 1\n# as it was\n", "version: 1\n# from afar, and it does not do\n"
    site = tmp_path / "site.yaml"
    site.write_text(new)
    site.with_name("site.yaml.previous").write_text(old)
    digests = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in (("new", new), ("old", old))}
    note = {"id": "1", "phase": "trial", "trial": 60.0, "lines": [], "by": "cloud", "starts": 0, "reason": None}
    site.with_name("site.yaml.trial").write_text(json.dumps(note | digests))
    prevented = settings(UNIT)["RestartPreventExitStatus"][0].split()
    for _ in range(3):
        status = run(sys.executable, "-m", "gateway", "run", site).returncode
        if site.read_text() == old:
            break
        assert str(status) not in prevented
    assert site.read_text() == old


def test_each_kind_of_adapter_has_its_module_before_the_unit_starts() -> None:
    modules = {line for line in (SYSTEMD / "site-gateway.modules").read_text().splitlines() if line[0] != "#"}
    assert modules == {"usbserial", "ftdi_sio", "ch341", "cp210x", "pl2303", "cdc_acm"}
    allowed = {value.split()[0] for value in settings(UNIT)["DeviceAllow"]}
    assert allowed == {"char-ttyUSB", "char-ttyACM", "char-ttyS", "char-ttyAMA"}


TERM = re.compile(
    r"(ACTION|SUBSYSTEM|SUBSYSTEMS|DRIVER|KERNEL|ATTR\{\w+\}|ATTRS\{\w+\}|ENV\{\w+\}|SYMLINK|GROUP|MODE|GOTO|LABEL)"
    r'(==|!=|\+=|=)"[^"]*"'
)


def rules(text: str) -> list[list[tuple[str, str, str]]]:
    """The rules of a udev file as (key, operator, value), examples in comments too."""
    told = []
    for line in text.splitlines():
        plain = line.removeprefix("#")
        if not line or (line.startswith("#") and not re.match(r"(ENV|KERNEL)\b", plain)):
            continue
        terms = plain.split(", ")
        assert all(TERM.fullmatch(term) for term in terms), line
        told.append([(m[1], m[2], term[m.end(2) + 1 : -1]) for term in terms if (m := TERM.fullmatch(term))])
    return told


def test_udev_rules_are_well_formed() -> None:
    path = SYSTEMD / "70-rs485.rules"
    told = rules(path.read_text())
    labels = [value for rule in told for key, _, value in rule if key == "LABEL"]
    targets = {value for rule in told for key, _, value in rule if key == "GOTO"}
    assert targets == set(labels) == {"rs485_end"}
    names = [value for rule in told for key, _, value in rule if key == "SYMLINK"]
    assert len(names) == 3
    assert all(name.startswith("rs485-") for name in names)
    assert [term for rule in told for term in rule if "latency" in term[0]] == [("ATTR{latency_timer}", "=", "1")]
    udevadm = shutil.which("udevadm", path="/usr/bin:/bin:/usr/sbin:/sbin")
    if udevadm and "verify" in run(udevadm, "--help").stdout:  # systemd 254 and later
        verdict = run(udevadm, "verify", "--resolve-names=never", path)
        assert verdict.returncode == 0, verdict.stdout + verdict.stderr


def test_no_other_program_takes_an_adapter() -> None:
    """ModemManager goes by its own mark; the rules of brltty compare the product, and come after these."""
    path = SYSTEMD / "70-rs485.rules"
    told = rules(path.read_text())
    vendors = "0403|1a86|10c4|067b"
    (hidden,) = [rule for rule in told if ("ENV{PRODUCT}", "=", "rs485") in rule]
    assert {("SUBSYSTEM", "==", "usb"), ("ENV{DEVTYPE}", "==", "usb_device")} < {*hidden}
    assert ("ATTR{idVendor}", "==", vendors) in hidden
    assert int(path.name[:2]) < 85
    before = [rule for rule in told[: told.index(hidden)] for key, _, _ in rule if key == "GOTO"]
    assert before == [], "it is reached for what is no tty"
    (ours,) = [rule for rule in told if ("ENV{ID_MM_PORT_IGNORE}", "=", "1") in rule]
    assert ("GROUP", "=", "dialout") in ours


@pytest.mark.parametrize("line", ['KERNEL=="x" SYMLINK+="y"', 'KERNEL=="x", SYMLINKS+="y"', 'KERNEL=="x'])
def test_a_broken_udev_rule_would_be_noticed(line: str) -> None:
    with pytest.raises(AssertionError):
        rules(line)


# ---- the way back ------------------------------------------------------------------------------------

SAME = {
    "Type": "notify",
    "NotifyAccess": "main",
    "ExecStart": "/usr/bin/site-gateway run /etc/site-gateway/site.yaml",
    "Restart": "always",
    "RestartPreventExitStatus": "1 64",
    "User": "site-gateway",
    "Group": "site-gateway",
    "StateDirectory": "site-gateway",
    "RuntimeDirectory": "site-gateway",
    "RuntimeDirectoryPreserve": "restart",
}
"""What a version goes by; since 0.2.0."""
AT_LEAST = {
    "WatchdogSec": "30s", "TimeoutStartSec": "60s", "TimeoutStopSec": "10s", "LimitNOFILE": "4096", "MemoryMax": "384M",
    "TasksMax": "64",
}  # fmt: skip
AMONG_OTHERS = {
    "DeviceAllow": {f"char-tty{kind} rw" for kind in ("USB", "ACM", "S", "AMA")},
    "RestrictAddressFamilies": {"AF_UNIX AF_INET AF_INET6"},
    "SystemCallFilter": {"@system-service"},
}
TAKES_AWAY = {
    "AmbientCapabilities", "CapabilityBoundingSet", "DevicePolicy", "KeyringMode", "LimitCORE", "LockPersonality",
    "MemoryDenyWriteExecute", "NoNewPrivileges", "PrivateIPC", "PrivateMounts", "PrivateTmp", "ProtectClock",
    "ProtectControlGroups", "ProtectHome", "ProtectHostname", "ProtectKernelLogs", "ProtectKernelModules",
    "ProtectKernelTunables", "ProtectProc", "ProtectSystem", "RemoveIPC", "RestrictNamespaces", "RestrictRealtime",
    "RestrictSUIDSGID", "SystemCallArchitectures", "UMask",
}  # fmt: skip
"""Every version since 0.2.0 does without."""
NEUTRAL = {
    "After", "ConditionPathExists", "Description", "Documentation", "OOMScoreAdjust", "RestartSec",
    "RuntimeDirectoryMode",
    "StartLimitIntervalSec", "StateDirectoryMode", "SystemCallErrorNumber", "WantedBy",
}  # fmt: skip


def number(value: str) -> int:
    return int(value.rstrip("sM"))


def test_a_version_that_is_gone_back_to_runs_under_this_unit() -> None:
    """The unit is always the installed version's: it takes away only what no version before has needed.

    Who adds to it: install the version before, then this one, and have it rolled back; then add here.
    """
    told = settings(UNIT)
    assert told.keys() <= SAME.keys() | AT_LEAST.keys() | AMONG_OTHERS.keys() | TAKES_AWAY | NEUTRAL
    assert {key: told[key] for key in SAME} == {key: [value] for key, value in SAME.items()}
    for key, least in AT_LEAST.items():
        assert number(told[key][0]) >= number(least), key
    for key, needed in AMONG_OTHERS.items():
        assert needed <= set(told[key]), key
    assert [one for one in told["SystemCallFilter"] if one.startswith("~")] == ["~@privileged @resources"]
