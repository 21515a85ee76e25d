"""Another site file from afar: kept when it proves itself, rolled back when it does not, refused while it must be."""

import asyncio
from pathlib import Path

from tests.end_to_end.compound import HEAD, RELAY, Compound, compound
from tests.end_to_end.process import running

SITE = f"""\
{HEAD}
lines:
  gate-io: {{driver: modbus, tcp: "127.0.0.1:1"}}
zones: {{b3: {{}}}}
devices:
  relay:
    line: gate-io
    unit: 1
{RELAY}
gates:
  north: {{open: relay.do1, hold: relay.do2}}
"""


async def apply(it: Compound, text: str, trial: str) -> None:
    """Apply it, and wait until another life of the same process runs with it."""
    lives = len(it.cloud.of("gateway.started"))
    reply = await it.command("config.apply", it.every_key, file=text, trial=trial)
    assert reply["ok"], reply
    assert reply["result"]["changed"]
    await it.cloud.until(lambda seen: len(seen.of("gateway.started")) > lives)


async def test_kept_rolled_back_and_refused(tmp_path: Path) -> None:
    async with compound(tmp_path, SITE) as it, running(it.site) as gateway:
        await it.cloud.until(lambda seen: bool(seen.of("telemetry.readings")))
        pid = gateway.pid
        got = await it.command("config.get", it.every_key)
        first = got["result"]["file"]
        assert first == it.site.read_text()

        second = first.replace("b3: {}", "b3: {name: three}")
        assert second != first
        await apply(it, second, "20s")
        await it.cloud.until(lambda seen: bool(seen.of("config.applied")))
        assert it.site.read_text() == second
        assert it.site.with_name("site.yaml.previous").read_text() == first
        assert it.cloud.of("config.applied")[0]["data"]["by"] == "operator"

        address = it.virtual.addresses["gate-io"]
        assert address in second
        await apply(it, second.replace(address, "127.0.0.1:9"), "10s")
        await it.cloud.until(lambda seen: bool(seen.of("config.rolled-back")), 30.0)
        assert it.site.read_text() == second
        assert "gate-io" in it.cloud.of("config.rolled-back")[0]["data"]["reason"]
        await it.until_well("relay")
        assert (gateway.pid, gateway.running) == (pid, True), "one process all the time"

        opened = await it.command("gate.open", gate="north", reason="it works as before")
        assert opened["ok"], opened
        await refused(it, second)
        status, seconds = await gateway.stop()
        assert (status, seconds < 2.0) == (0, True)


async def refused(it: Compound, text: str) -> None:
    """What it must not be, or not now."""
    codes = []
    for other in (text.replace("id: all", "id: more"), text.replace("b3:", "B 3:"), text):
        reply = await it.command("config.apply", it.every_key, file=other, trial="20s")
        codes.append("unchanged" if reply["ok"] else reply["error"]["code"])
    assert codes == ["not-allowed", "bad-args", "unchanged"]
    assert (await it.person("gate.hold", gate="north"))["ok"]
    other = text.replace("name: three", "name: four")
    reply = await it.command("config.apply", it.every_key, file=other, trial="20s")
    assert reply["error"]["code"] == "interlocked"
    assert (await it.person("gate.release", gate="north"))["ok"]
    await asyncio.sleep(0)
    assert it.site.read_text() == text


async def test_a_file_in_a_folder_of_its_own_is_replaced_there_and_its_paths_count_from_the_link(
    tmp_path: Path,
) -> None:
    """The one arrangement in which the service may write its site file, and nothing else of the configuration."""
    async with compound(tmp_path, SITE) as it:
        own = tmp_path / "state" / "site.yaml"
        own.parent.mkdir()
        first = it.site.read_text().replace(f"{tmp_path}/cloud.pub.pem", "cloud.pub.pem")
        assert "cloud.pub.pem" in first
        assert f"{tmp_path}/cloud.pub.pem" not in first
        own.write_text(first)
        it.site.unlink()
        it.site.symlink_to(own)
        async with running(it.site):
            await it.cloud.until(lambda seen: bool(seen.of("telemetry.readings")))
            second = first.replace("b3: {}", "b3: {name: three}")
            await apply(it, second, "20s")
            await it.cloud.until(lambda seen: bool(seen.of("config.applied")))
        assert it.site.is_symlink()
        assert own.read_text() == second
        assert {one.name for one in own.parent.iterdir()} == {"site.yaml", "site.yaml.previous"}
