"""What docs/mqtt.md tells of commands and passages is what the code declares; its example runs as it is printed."""

import asyncio
import os
import re
import shutil
import sys
from pathlib import Path
from typing import get_args

from gateway.cloud.commands.claims import DEFAULT_ALLOW
from gateway.commands import COMMANDS
from gateway.contract.commands import ERRORS, RESULTS, claims
from gateway.contract.events import EVENTS
from gateway.kinds import PassageReason
from simulators.cloud import Cloud, Event
from tests.contract.judge import faults
from tests.contract.regenerate import DOCS
from tests.end_to_end.compound import HEAD, RELAY, compound
from tests.end_to_end.process import running

PAGE = (DOCS / "mqtt.md").read_text(encoding="utf-8")
_HEAD = HEAD.replace("  keys:\n", "  keys:\n    - {id: cloud-2026, ed25519: keys/commands.pub.pem}\n")
SITE = f"""\
{_HEAD}
lines:
  gate-io: {{driver: modbus, tcp: "127.0.0.1:1"}}
devices:
  relay-tcp:
    line: gate-io
    unit: 1
{RELAY}
gates:
  north-in: {{open: relay-tcp.do1, hold: relay-tcp.do2, on_loss: keep}}
"""
PUBLISHER = f"""\
#!{sys.executable}
# mosquitto_pub, as far as the page uses it, for a machine without it.
import sys
import paho.mqtt.publish as publish
said = sys.argv[1:]
assert said.pop() == "-l"
named = dict(zip(said[::2], said[1::2], strict=True))
host, port, qos = named.pop("-h"), int(named.pop("-p")), int(named.pop("-q"))
topic = named.pop("-t")
assert not named
for line in sys.stdin:
    publish.single(topic, line.rstrip("\\n"), qos, hostname=host, port=port)
"""


def rows(after: str) -> list[list[str]]:
    """The cells of the first table after these words, without its head."""
    lines = PAGE[PAGE.index(after) :].splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith("| --- "))
    table = lines[begin + 1 :]
    end = next((number for number, line in enumerate(table) if not line.startswith("|")), len(table))
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table[:end]]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_claims() -> None:
    assert [name for row in rows("The payload on `T/command`") for name in names(row[0])] == [*claims()["properties"]]


def test_error_codes() -> None:
    assert [row[0] for row in rows("### Refused")] == [f"`{code}`" for code in ERRORS]


def test_who_may_ask_how_long_and_what_is_answered() -> None:
    lives = {120.0: "120 s", 3600.0: "1 h"}
    told = []
    for cmd, by_default, life, result in rows("### Which key may ask"):
        fields = result.partition(":")[0].partition(";")[0]
        told.append((names(cmd)[0], by_default, life, re.findall(r"`(\w+)`(\??)", fields)))

    assert told == [
        (
            cmd,
            "yes" if cmd in DEFAULT_ALLOW else "no",
            lives[COMMANDS[cmd].life_s],
            [(name, "" if name in shape.get("required", ()) else "?") for name in shape.get("properties", {})],
        )
        for cmd, shape in RESULTS.items()
    ]


def test_reasons_of_passages() -> None:
    told = [name for row in rows("## Passages") for name in names(row[0])]

    assert len(told) == len(set(told))
    assert set(told) == set(get_args(PassageReason))


def test_decisions_about_passages() -> None:
    data = EVENTS["sitegateway.access.passage.v1"].data
    assert data is not None
    said = PAGE[PAGE.index("`decision` is what happened") : PAGE.index("`reason` is the rule")]
    assert set(data["properties"]["decision"]["enum"]) == set(names(said)) - {"decision"}


async def test_the_example_runs_as_it_is_printed(tmp_path: Path) -> None:
    (block,) = (text for text in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) if "token keygen" in text)
    keygen, sign = block.splitlines()
    programs = tmp_path / "bin"
    programs.mkdir()
    if shutil.which("mosquitto_pub") is None:
        (programs / "mosquitto_pub").write_text(PUBLISHER)
        (programs / "mosquitto_pub").chmod(0o755)
    await shell(keygen, tmp_path)
    async with compound(tmp_path, SITE) as it, running(it.site):
        await it.online()
        nonce = it.cloud.latest["status"]["data"]["nonce"]  # the clock of the machine that tests may be unsynced
        here = sign.replace("-p 1883", f"-p {it.broker.port}").replace(" --cmd ", f" --nonce {nonce} --cmd ")
        await shell(here, tmp_path)
        await it.cloud.until(lambda cloud: len(cloud.replies) == 1)

        ((_, reply),) = it.cloud.replies.items()
        assert (reply["data"]["cmd"], reply["data"]["ok"]) == ("gate.open", True), reply
        assert reply["data"]["result"].items() >= {"gate": "north-in", "decision": "opened"}.items()
        assert it.written("relay-tcp", "do1")


async def test_alarms_of_lines_gates_and_the_box_are_named_in_what_stands(tmp_path: Path) -> None:
    """Each can be told from the others by its subject alone, and a command takes that name."""
    wanted = {"gate-io/down", "north-in/held-unknown", "audit/refused"}
    rules = tmp_path / "acl"
    rules.write_text("topic readwrite #\ntopic deny site-gateway/v1/xima-xincun/xmxc-01/audit\n")
    rules.chmod(0o644)
    async with compound(tmp_path, SITE.replace(_HEAD, HEAD), acl_file=rules) as it:
        it.virtual.set("relay-tcp.do2", value=True)
        async with running(it.site):
            await it.until_standing("held-unknown")
            it.virtual.line_down("gate-io")
            await it.cloud.until(lambda cloud: standing(cloud).keys() >= wanted)

            found = standing(it.cloud)
            assert {subject: found[subject]["device"] for subject in wanted} == dict.fromkeys(wanted)
            assert (await it.command("alarm.acknowledge", alarm="gate-io/down"))["ok"]
        assert faults(it.cloud.latest["alarm/active"]) == []


def standing(cloud: Cloud) -> dict[str, Event]:
    return {
        alarm["subject"]: alarm
        for alarm in cloud.latest.get("alarm/active", {"data": {"alarms": []}})["data"]["alarms"]
    }


async def shell(line: str, folder: Path) -> None:
    path = f"{folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    process = await asyncio.create_subprocess_exec(
        "bash", "-o", "pipefail", "-c", line, cwd=folder, env={**os.environ, "PATH": path}
    )
    async with asyncio.timeout(60):
        assert await process.wait() == 0, line
