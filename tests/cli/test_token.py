"""Keys and signed commands on the command line."""

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.clock import Clock
from gateway.cloud.commands.claims import KeyFile
from gateway.cloud.commands.verify import Verifier, read_key
from gateway.model import Command
from tests.cloud.signing import Known, Nonces

SOURCE = "/sites/s/gateways/g"


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", "token", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("token") / "keys"
    done = command("keygen", "--out", folder)
    assert done.returncode == 0
    assert done.stdout.split() == [str(folder / "commands.key.pem"), str(folder / "commands.pub.pem")]
    return folder


def sign(keys: Path, *more: str) -> subprocess.CompletedProcess[str]:
    key = keys / "commands.key.pem"
    return command("sign", "--key", key, "--kid", "k", "--aud", SOURCE, "--cmd", "gate.open", *more)


def test_the_pair(keys: Path) -> None:
    secret, public = keys / "commands.key.pem", keys / "commands.pub.pem"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert secret.read_text().startswith("-----BEGIN PRIVATE KEY-----")
    assert public.read_text().startswith("-----BEGIN PUBLIC KEY-----")


def test_keys_that_are_there_are_not_touched(keys: Path) -> None:
    before = (keys / "commands.key.pem").read_bytes()
    done = command("keygen", "--out", keys)
    assert done.returncode == 2
    assert "commands.key.pem: File exists" in done.stderr
    assert (keys / "commands.key.pem").read_bytes() == before


def test_a_command_that_the_gateway_takes(keys: Path) -> None:
    done = sign(keys, "--args", '{"gate": "north", "reason": "试"}', "--sub", "zhang", "--iss", "desk", "--nonce", "n",
                "--jti", "one", "--for", "2m")  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    key = read_key(KeyFile("k", keys / "commands.pub.pem", None))
    clock = Clock(synced=lambda: False)
    result = Verifier([key], SOURCE, clock, Nonces(("n",)), Known()).verify(done.stdout.strip().encode())
    assert isinstance(result, Command)
    assert (result.jti, result.iss, result.sub, result.kid) == ("one", "desk", "zhang", "k")
    assert (result.cmd, result.args) == ("gate.open", {"gate": "north", "reason": "试"})
    assert 0 < result.exp - time.time() <= 121


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--args", "{"), "--args"),
        (("--args", "[]"), "--args"),
        (("--for", "60"), "--for"),
        (("--what", "x"), "--what"),
    ],
)
def test_a_wrong_command_line(keys: Path, more: tuple[str, ...], said: str) -> None:
    done = sign(keys, *more)
    assert done.returncode == 64
    assert said in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("content", [None, "", "-----BEGIN PRIVATE KEY-----\n"])
def test_a_key_that_is_none(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "commands.key.pem").write_text(content)
    done = sign(tmp_path)
    assert done.returncode == 2
    assert "commands.key.pem" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_public_key_signs_nothing(keys: Path) -> None:
    public = keys / "commands.pub.pem"
    done = command("sign", "--key", public, "--kid", "k", "--aud", SOURCE, "--cmd", "gate.open")
    assert done.returncode == 2


@pytest.mark.parametrize("name", [(), ("keygen",), ("sign",)])
def test_help_has_an_example(name: tuple[str, ...]) -> None:
    done = command(*name, "--help")
    assert done.returncode == 0
    assert "Example: site-gateway token" in done.stdout
