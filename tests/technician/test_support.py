"""What leaves the site for somebody who helps: what is on the list and nothing else, whatever a gateway tells."""

import asyncio
import hashlib
import io
import json
import re
import socket
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.config.load import load
from gateway.local.control import Daemon
from gateway.model import Json
from gateway.technician.support import allow, bundle
from tests.cli.test_command_line import command
from tests.cli.test_page import site_file
from tests.end_to_end.camera_site import LISTED, UNLISTED, camera_site, site_text
from tests.end_to_end.process import running
from tests.end_to_end.test_page import with_page
from tests.mosquitto import free_port

SECRETS = ("a secret of the real camera", "password of", "scrypt", "zhang", "PRIVATE", "192.0.2.1", LISTED, UNLISTED)


class Telling(Daemon):
    """Tells this, whatever runs."""

    def __init__(self, health: Any, alarms: Any) -> None:
        super().__init__("/nowhere")
        self._answers = {"status": health, "alarms": alarms}

    def ask(self, request: Mapping[str, Json], timeout: float = 15.0) -> Json:  # noqa: ARG002
        answer: Json = self._answers[str(request["ask"])]
        return answer


class Impatient(Daemon):
    """Who asks does not wait."""

    def ask(self, request: Mapping[str, Json], timeout: float = 0.1) -> Json:
        return super().ask(request, timeout)


def test_what_nobody_has_named_stays_out() -> None:
    value = {"up": True, "new": "secret", "line": {"up": 1, "other": {"x": 1}}, "list": [1], "plate": "沪A12345"}
    kept, out = allow(value, {"up": True, "line": {"up": True}, "list": True})

    assert kept == {"up": True, "line": {"up": 1}}
    assert out == 4
    assert allow("text", {"*": True}) == ({}, 1)
    assert allow({"detail": "the car 沪A12345 at the gate"}, {"*": True})[0] == {
        "detail": "the car 沪A***** at the gate"
    }


def test_every_value_of_a_gateway_that_is_not_named_stays_out(tmp_path: Path) -> None:
    """Whatever is told besides, anywhere."""
    site = tmp_path / "site.yaml"
    site.write_text("version: 1\nsite: {id: s, name: 张三家}\ngateway: g\nuplink: {url: 'mqtt://u:1'}\n"
                    "lines: {a: {driver: modbus, tcp: '127.0.0.1:1'}}\n"
                    "devices: {d: {line: a, place: 张三家, points: {p: {at: holding 0}}}}\n")  # fmt: skip
    poison = {"secret": "POISON", "detail": {"x": "POISON"}, "lines": {"a": {"new": "POISON", "up": True}}}

    alarms = [{"alarm": "1", "acknowledged_by": "POISON", "place": "POISON"}]
    made = bundle(load(site), Telling(poison, alarms))
    everything = b"".join(made.files.values())

    assert b"POISON" not in everything
    assert "张三家".encode() not in everything
    assert json.loads(made.files["health.json"]) == {"lines": {"a": {"up": True}}}
    assert json.loads(made.files["site.json"])["devices"]["d"]["line"] == "a"
    assert made.left_out > 10


async def test_a_bundle_of_a_running_gateway_has_no_secret(tmp_path: Path) -> None:
    text = with_page(site_text({"cam": "driver: hikvision, mode: push"}), tmp_path)
    async with camera_site(tmp_path, text) as site, running(site.it.site):
        await site.ready()
        await site.sees("cam", UNLISTED)
        await site.passages(1)
        shown = command("support-bundle", site.it.site, "--preview", cwd=tmp_path)
        assert shown.returncode == 0, shown.stderr
        done = command("support-bundle", site.it.site, "--out", "s.tar.gz", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    archive = (tmp_path / "s.tar.gz").read_bytes()
    assert (tmp_path / "s.tar.gz").stat().st_mode & 0o777 == 0o600
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        files = {entry.name: tar.extractfile(entry).read() for entry in tar.getmembers()}  # type: ignore[union-attr]
    manifest = json.loads(files.pop("support/manifest.json"))
    assert {name: hashlib.sha256(data).hexdigest() for name, data in files.items()} == {
        f"support/{name}": file["sha256"] for name, file in manifest["files"].items()
    }
    assert manifest["left_out"] > 0
    health = json.loads(files["support/health.json"])
    assert health["lines"]["io"]["up"] is True
    assert health["cameras"]["cam"]["passages"] == 1
    previewed = re.findall(r"^--- ([a-z]+\.json)$", shown.stdout, re.MULTILINE)
    assert [f"support/{name}" for name in previewed] == ["support/manifest.json", *files], "the preview hides nothing"
    everything = b"".join(files.values()).decode() + shown.stdout
    assert [secret for secret in SECRETS if secret in everything] == []


async def test_why_a_line_is_down_stays_out_with_its_address(tmp_path: Path) -> None:
    site = site_file(tmp_path, f"127.0.0.1:{free_port()}")
    async with running(site):
        daemon = Daemon(tmp_path / "store")
        health: Any = {}
        async with asyncio.timeout(20):
            while not (detail := health.get("lines", {}).get("loop", {}).get("detail")):
                health = await asyncio.to_thread(daemon.ask, {"ask": "status"})
        made = bundle(load(site), Telling(health, []))
    assert "127.0.0.1:1" in detail, detail

    assert json.loads(made.files["health.json"])["lines"]["loop"]["up"] is False
    assert b"127.0.0.1" not in b"".join(made.files.values())


def test_without_a_gateway_and_with_a_wrong_file_there_is_still_one(tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text(
        "version: 1\nhttp: {status: {users: {zhang: {role: boss}}}}\n"
        "zones: {张三家: {}, Zhang San: {}, 沪A12345: {}}\npassword of zhang: 1\n"
    )
    done = command("support-bundle", site, "--preview", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert '"running": false' in done.stdout
    assert [name for name in ("zhang", "Zhang", "张三", "沪A12345") if name in done.stdout] == []
    assert "http.status.users.*" in done.stdout
    assert '"zones.*"' in done.stdout
    assert done.stderr.startswith("it is without the site file, which is wrong")


def test_a_gateway_that_does_not_answer_keeps_nobody_without_help(tmp_path: Path) -> None:
    """What hangs is what help is needed for: here one that takes the question and says nothing."""
    with socket.socket(socket.AF_UNIX) as hanging:
        hanging.bind(str(tmp_path / "hangs"))
        hanging.listen()
        made = bundle(load(site_file(tmp_path)), Impatient(tmp_path, tmp_path / "hangs"))
    assert json.loads(made.files["health.json"]) == {"running": True, "answers": False}
    assert {"machine.json", "check.json", "site.json"} <= made.files.keys()
    assert "does not answer within" in made.missing[0]


def test_a_file_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    site = site_file(tmp_path)
    kept = site.read_bytes()
    done = command("support-bundle", site, "--out", site, cwd=tmp_path)

    assert (done.returncode, done.stderr) == (2, f"{site}: is there already\n")
    assert site.read_bytes() == kept


@pytest.mark.parametrize("out", ["no/such/folder/x.tar.gz"])
def test_where_it_cannot_be_written_it_is_said(tmp_path: Path, out: str) -> None:
    site = tmp_path / "site.yaml"
    site.write_text("version: 1\n")
    done = command("support-bundle", site, "--out", out, cwd=tmp_path)

    assert done.returncode == 2
    assert done.stderr.endswith(f"\n{out}: No such file or directory\n")
