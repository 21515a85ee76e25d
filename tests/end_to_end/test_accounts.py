"""The control socket of the real gateway: where it lies, and the account that asks stands in the audit."""

import asyncio
import os
import pwd
import tempfile
from pathlib import Path

import pytest

from gateway.local.control import NAME, ask
from gateway.model import Json
from tests.accounts import as_root
from tests.end_to_end.compound import SITE, compound
from tests.end_to_end.process import running
from tests.local.test_control import asked_as_nobody
from tests.technician.command import site_gateway


async def test_with_a_folder_of_the_service_the_store_is_not_needed_to_ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(folder))
    async with compound(tmp_path) as it:
        await it.broker.stop()
        it.folder.joinpath("store").write_text("in the place of the folder: nothing can be stored")
        async with running(it.site):
            assert (folder / NAME).is_socket()
            status = await site_gateway("status", it.site)
            assert status.status == 0, status.err
            it.virtual.set("smoke-1.smoke", 1)
            async with asyncio.timeout(20):
                while "fire" not in (alarms := await site_gateway("alarms", it.site)).out:
                    assert alarms.status == 0, alarms.err
            done = await site_gateway("do", it.site, "gate.hold", "gate=north", "reason=fire", "--by", "zhang")
            assert done.status == 0, done.err


async def test_the_audit_has_the_account_beside_the_name(tmp_path: Path) -> None:
    account = pwd.getpwuid(os.getuid()).pw_name
    async with compound(tmp_path) as it, running(it.site):
        await it.online()
        done = await site_gateway("do", it.site, "gate.open", "gate=north", "reason=guest", "--by", "zhang")
        assert done.status == 0, done.err
        await it.cloud.until(lambda seen: bool(seen.of("command.done")))
        (told,) = it.cloud.of("command.done")
        assert (told["data"]["sub"], told["data"]["account"]) == ("zhang", account)


@as_root
async def test_the_site_file_says_what_an_account_may_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """From the site file to the gate: `people` was tested at the socket alone, and no site file with it loaded."""
    request: dict[str, Json] = {
        "ask": "do",
        "cmd": "gate.open",
        "args": {"gate": "north", "reason": "guest"},
        "by": "zhang",
    }
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        monkeypatch.setenv("RUNTIME_DIRECTORY", folder)
        people = '\npeople: {nobody: guard, "@property": steward}\n'
        async with compound(tmp_path, SITE + people) as it, running(it.site):
            await it.online()
            path = Path(folder) / NAME
            refused = await asked_as_nobody(path, {**request, "role": "technician"})
            assert "not-allowed" in refused["error"]
            done = await asked_as_nobody(path, {**request, "role": "guard"})
            assert done["ok"], done
            await it.until(lambda: len(it.written("relay-tcp", "do1")) > 0)


async def test_any_number_may_be_asked_after(tmp_path: Path) -> None:
    async with compound(tmp_path) as it, running(it.site):
        await it.asked("status")
        for after in (2**63, 1e308, -1e308, -1, True):
            told = await asyncio.to_thread(
                ask, it.folder / "store" / NAME, {"ask": "events", "stream": "alarm", "after": after}
            )
            assert isinstance(told, dict)
