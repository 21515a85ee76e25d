"""`page`, `passwd` and `certificate`: what stands around the local page."""

import asyncio
import getpass
import ssl
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from gateway.config.contents import names_in
from gateway.errors import GatewayError
from gateway.local.control import Daemon
from gateway.local.passwords import fits
from tests.end_to_end.browsing import Browser, listening
from tests.end_to_end.process import running
from tests.mosquitto import free_port

SITE = """\
version: 1
site: {{id: xima-xincun, name: 西马新村}}
gateway: xmxc-01
uplink: {{url: "mqtt://127.0.0.1:1"}}
lines: {{loop: {{driver: modbus, tcp: "127.0.0.1:1"}}}}
devices: {{tank: {{line: loop, points: {{level: {{at: holding 0}}}}}}}}
store: {{path: store, max_size: 64MiB, alarm_reserve: 1MiB}}
http: {{status: {{listen: "{listen}", {more}}}}}
"""


def program(*arguments: object, input: str | None = None) -> subprocess.CompletedProcess[str]:  # noqa: A002 - as `run`
    command = [sys.executable, "-m", "gateway", *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, input=input, timeout=60)


def site_file(folder: Path, listen: str = "127.0.0.1:8081", more: str = "") -> Path:
    path = folder / "site.yaml"
    path.write_text(SITE.format(listen=listen, more=more))
    return path


def test_a_password_is_written_hashed_and_replaces_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "zhang.pass"
    for password in ("correct horse", "another horse"):
        done = program("passwd", path, "--stdin", input=f"{password}\n")
        assert (done.returncode, done.stdout) == (0, f"{path}\n"), done.stderr
        assert password not in path.read_text()
        assert fits(password, path.read_text().rstrip("\n"))
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("password", ["", "short", "x" * 300])
def test_a_password_that_is_none(tmp_path: Path, password: str) -> None:
    done = program("passwd", tmp_path / "x", "--stdin", input=f"{password}\n")

    assert (done.returncode, done.stderr) == (2, "the password: 8-256 characters\n")
    assert not (tmp_path / "x").exists()


def test_bytes_that_are_no_text_are_no_password(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gateway", "passwd", str(tmp_path / "x"), "--stdin"]
    done = subprocess.run(command, check=False, capture_output=True, input=b"\xff\xfe" * 5 + b"\n", timeout=60)

    assert (done.returncode, done.stderr) == (2, b"the password: it is no UTF-8; write it in a terminal of UTF-8\n")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("file", [".", "/", ".."])
def test_a_folder_is_no_file_to_write(file: str) -> None:
    done = program("passwd", file, "--stdin", input="correct horse\n")

    assert (done.returncode, done.stderr) == (2, f"{file}: Is a directory\n")


@pytest.mark.parametrize("name", ["bad name!", "门卫.lan", "", "x" * 64, ".", "a..b", "-x", f"{'x' * 60}." * 5])
def test_a_certificate_is_for_names_that_a_browser_knows(tmp_path: Path, name: str) -> None:
    done = program("certificate", tmp_path / "x.crt", tmp_path / "x.key", "--name", name)

    assert done.returncode == 64
    assert "--name: an address, or a name" in done.stderr
    assert not [*tmp_path.iterdir()]
    done = program("page", site_file(tmp_path), "--sticker", tmp_path / "x.svg", "--host", name)
    assert done.returncode == 64
    assert "--host: an address, or a name" in done.stderr
    assert not (tmp_path / "x.svg").exists()


def test_certificate_and_key_are_two_files(tmp_path: Path) -> None:
    assert program("certificate", tmp_path / "x", tmp_path / "x", "--renew").returncode == 64
    assert not [*tmp_path.iterdir()]


def test_a_password_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    done = program("passwd", tmp_path / "no" / "x", "--stdin", input="correct horse\n")

    assert done.returncode == 2
    assert done.stderr == f"{tmp_path / 'no' / 'x'}: No such file or directory\n"


def test_a_certificate_is_made_once_for_every_address_of_the_box(tmp_path: Path) -> None:
    pair = (tmp_path / "page.crt", tmp_path / "page.key")
    done = program("certificate", *pair, "--name", "gateway.example.lan")
    assert done.returncode == 0, done.stderr
    fingerprint = done.stdout.splitlines()[-1]
    assert fingerprint.startswith("SHA-256 ")
    assert fingerprint.count(":") == 31
    names = names_in(pair[0])
    assert {"gateway.example.lan", "localhost", "127.0.0.1"} <= names
    assert pair[1].stat().st_mode & 0o777 == 0o640
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(*pair)

    again = program("certificate", *pair)
    assert again.returncode == 2
    assert "--renew" in again.stderr
    renewed = program("certificate", *pair, "--renew")
    assert renewed.returncode == 0
    assert renewed.stdout.splitlines()[-1] != fingerprint
    site = site_file(tmp_path, more="tls: {cert: page.crt, key: page.key}")
    assert "http.status" not in program("check", site).stdout


def test_without_a_page_there_is_no_address(tmp_path: Path) -> None:
    path = tmp_path / "none.yaml"
    path.write_text(site_file(tmp_path).read_text().partition("http:")[0])
    done = program("page", path)

    assert (done.returncode, done.stderr) == (2, "http.status: found none: this gateway has no page\n")


@pytest.mark.parametrize(
    ("listen", "more", "options", "link"),
    [
        ("127.0.0.1:8081", "", (), "http://127.0.0.1:8081/"),
        ("192.168.1.10:8443", "tls: {cert: a.crt, key: a.key}", (), "https://192.168.1.10:8443/"),
        ("0.0.0.0:8443", "", ("--host", "gw.lan"), "http://gw.lan:8443/"),
        ("0.0.0.0:8443", "", ("--host", "fd00::1"), "http://[fd00::1]:8443/"),
    ],
)
def test_the_address_is_printed(tmp_path: Path, listen: str, more: str, options: tuple[str, ...], link: str) -> None:
    for name in ("a.crt", "a.key"):
        (tmp_path / name).write_text("")
    done = program("page", site_file(tmp_path, listen, more), *options)

    assert (done.returncode, done.stdout) == (0, f"{link}\n"), done.stderr


def test_a_sticker_is_a_picture_with_the_address_and_the_name(tmp_path: Path) -> None:
    done = program("page", site_file(tmp_path), "--sticker", tmp_path / "door.svg")
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'door.svg'}\n")
    tree = ET.fromstring((tmp_path / "door.svg").read_text())  # noqa: S314 - our own
    texts = [element.text for element in tree.iter("{http://www.w3.org/2000/svg}text")]

    assert "西马新村" in texts
    assert "http://127.0.0.1:8081/" in texts
    assert tree.find(".//{http://www.w3.org/2000/svg}path") is not None


def test_a_code_needs_the_daemon(tmp_path: Path) -> None:
    done = program("page", site_file(tmp_path), "--code")

    assert done.returncode == 3


async def test_a_code_logs_a_technician_in_once_also_over_tls(tmp_path: Path) -> None:
    port = free_port()
    site = site_file(tmp_path, f"127.0.0.1:{port}", "tls: {cert: page.crt, key: page.key}")
    assert program("certificate", tmp_path / "page.crt", tmp_path / "page.key").returncode == 0
    base = f"https://127.0.0.1:{port}"
    async with running(site), Browser(base, ssl=False) as browser:
        await listening(base)
        assert (await browser.get("/me"))[1] == {"read_only": False, "users": False}
        done = await asyncio.to_thread(program, "page", site, "--code")
        assert done.returncode == 0, done.stderr
        link, _, code = done.stdout.splitlines()[-1].partition("#code=")
        assert link == f"{base}/"
        status, told = await browser.post("/login", {"code": code})
        assert (status, told["role"]) == (200, "technician")
        (cookie,) = browser.session.cookie_jar
        assert (cookie.key, cookie["secure"], cookie["httponly"]) == ("__Host-site-gateway", True, True)
        assert cookie["samesite"] == "Strict"
        status, told = await browser.post("/login", {"code": code})
        assert (status, told["error"]["code"]) == (401, "wrong-login")
        for host, expected in (("localhost", 200), ("evil.example", 421)):
            async with browser.session.get("/state", headers={"Host": f"{host}:{port}"}, ssl=False) as response:
                assert response.status == expected


async def test_no_code_is_made_for_a_user_and_the_audit_tells_who_made_one(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "zhang.pass").write_text("password of zhang\n")
    users = "users: {zhang: {role: guard, password: {file: zhang.pass}}}"
    site = site_file(tmp_path, f"127.0.0.1:{port}", users)
    account = getpass.getuser()
    async with running(site) as gateway, Browser(f"http://127.0.0.1:{port}") as browser:
        await listening(browser.base)
        daemon = Daemon(tmp_path / "store")
        for name in ("zhang", " Zhang "):
            with pytest.raises(GatewayError, match="is a user of the page"):
                await asyncio.to_thread(daemon.ask, {"ask": "page.code", "by": name})
        told = await asyncio.to_thread(daemon.ask, {"ask": "page.code", "by": "wang"})
        assert isinstance(told, dict)
        assert "a code for the page was made" in gateway.log.read_text()
        assert (await browser.post("/login", {"code": told["code"]}))[1]["name"] == "wang"
        async with browser.looking() as seen:
            await browser.do(seen, "gate.open", gate="none")
        async with asyncio.timeout(10):
            while not (events := (await browser.get("/audit?cmd=gate.open"))[1]["events"]):
                await asyncio.sleep(0.05)
        (login,) = (await browser.get("/audit?cmd=page.code"))[1]["events"]
        for event in (events[0], login):
            assert (event["data"]["sub"], event["data"]["account"]) == ("wang", f"code:{account}")
        assert login["data"]["ok"]


async def test_a_changed_password_logs_out_and_a_session_is_nothing_where_the_page_is_read_only(tmp_path: Path) -> None:
    port = free_port()
    secret = tmp_path / "zhang.pass"
    secret.write_text("password of zhang\n")
    users = "users: {zhang: {role: guard, password: {file: zhang.pass}}}"
    site = site_file(tmp_path, f"127.0.0.1:{port}", users)
    async with Browser(f"http://127.0.0.1:{port}") as browser:
        async with running(site) as gateway:
            await listening(browser.base)
            await browser.log_in("zhang", "password of zhang")
            await gateway.stop()
        secret.write_text("another one of zhang\n")
        assert "zhang" in (tmp_path / "store" / "sessions").read_text()
        async with running(site) as gateway:
            await listening(browser.base)
            assert "name" not in (await browser.get("/me"))[1], "changed while it was off"
            await browser.log_in("zhang", "another one of zhang")
            async with browser.looking() as seen, asyncio.timeout(20):
                secret.write_text("a third one of zhang\n")
                while not seen.ended:
                    await asyncio.sleep(0.05)
            assert "name" not in (await browser.get("/me"))[1]
            await browser.log_in("zhang", "a third one of zhang")
            await gateway.stop()
        async with running(site):
            await listening(browser.base)
            assert (await browser.get("/me"))[1]["name"] == "zhang", "a restart alone logs nobody out"
        site_file(tmp_path, f"0.0.0.0:{port}", users)
        async with running(site):
            await listening(browser.base)
            assert (await browser.get("/me"))[1] == {"read_only": True, "users": True}
            assert (await browser.get("/history"))[0] == 401


async def test_off_loopback_without_tls_nobody_logs_in(tmp_path: Path) -> None:
    port = free_port()
    site = site_file(tmp_path, f"0.0.0.0:{port}")
    async with running(site), Browser(f"http://127.0.0.1:{port}") as browser:
        await listening(browser.base)
        assert (await browser.get("/me"))[1]["read_only"] is True
        status, told = await browser.post("/login", {"name": "zhang", "password": "x"})
        assert (status, told["error"]["code"]) == (403, "read-only")
        done = await asyncio.to_thread(program, "page", site, "--code")
        assert (done.returncode, "no tls" in done.stderr) == (2, True)
        assert (await browser.get("/state"))[0] == 200
