"""The control socket, with a real client, good and bad."""

import asyncio
import grp
import json
import pwd
import select
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import DeviceSilent, GatewayError, NotAnswering
from gateway.local import control
from gateway.local.control import NAME, Control, Daemon, ask
from gateway.local.queries import LEAST_ROLES
from gateway.model import Json
from tests.accounts import as_root


async def echo(request: Mapping[str, Any]) -> Json:
    return {"said": request["say"]}


async def silent(_request: Mapping[str, Any]) -> Json:
    raise DeviceSilent("smoke-1 does not answer")


@pytest.fixture
async def path(tmp_path: Path) -> AsyncIterator[Path]:
    """The socket of a running control."""
    path = tmp_path / NAME
    path.write_text("left by a dead process")
    async with asyncio.TaskGroup() as group:
        task = group.create_task(Control([path], {"echo": echo, "read": silent}).run(), name="control")
        while not path.is_socket():
            await asyncio.sleep(0.001)
        yield path
        task.cancel()
    assert not path.exists()


async def test_a_question_is_answered(path: Path) -> None:
    assert await asyncio.to_thread(ask, path, {"ask": "echo", "say": "你好"}) == {"said": "你好"}


async def test_a_refusal_is_an_error_with_its_text(path: Path) -> None:
    with pytest.raises(GatewayError, match="smoke-1 does not answer"):
        await asyncio.to_thread(ask, path, {"ask": "read"})


async def test_the_socket_is_for_its_group_only(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o660


async def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError, match="no daemon"):
        ask(tmp_path / "nothing", {"ask": "echo"})


@pytest.mark.parametrize(
    "line", [b"\n", b"nonsense\n", b"[]\n", b'"text"\n', b'{"ask": "rm"}\n', b'{"ask": ["x"]}\n', b'{"ask": "echo"}\n']
)
async def test_nonsense_is_answered_and_the_next_question_too(path: Path, line: bytes) -> None:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(line + b'{"ask": "echo", "say": 1}\n')

    assert b'"ok":false' in await reader.readline()
    assert b'"said":1' in await reader.readline()
    writer.close()


@pytest.mark.parametrize("bug", [OverflowError("too large"), RuntimeError("x"), AttributeError("y"), AssertionError()])
async def test_an_error_of_our_own_is_an_answer_and_the_next_question_has_one_too(
    tmp_path: Path, bug: Exception
) -> None:
    """The events after the number 1e308 ended the connection without a word."""

    async def fails(_request: Mapping[str, Any]) -> Json:
        raise bug

    control = Control([tmp_path / NAME], {"fail": fails, "echo": echo})
    async with asyncio.TaskGroup() as group:
        task = group.create_task(control.run())
        await control.tried.wait()
        reader, writer = await asyncio.open_unix_connection(tmp_path / NAME)
        writer.write(b'{"ask": "fail"}\n{"ask": "echo", "say": 1}\n')
        assert json.loads(await reader.readline())["ok"] is False
        assert json.loads(await reader.readline()) == {"ok": True, "result": {"said": 1}}
        writer.close()
        task.cancel()


async def test_a_line_without_end_is_cut_off(path: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"x" * 200_000)

    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        assert await reader.readexactly(1) == b""
    writer.close()
    assert await asyncio.to_thread(ask, path, {"ask": "echo", "say": 1}) == {"said": 1}


# ---- who only stands there --------------------------------------------------------------------------


async def big(_request: Mapping[str, Any]) -> Json:
    return "x" * 4_000_000


@asynccontextmanager
async def served(*sockets: Path, **how: Any) -> AsyncIterator[Control]:
    """A control on the first socket that can be made."""
    asks = {"echo": echo, "who": whose, "big": big, **dict.fromkeys(LEAST_ROLES, whose)}
    serving = Control(sockets, asks, **how)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(serving.run(), name="control")
        async with asyncio.timeout(5):
            await serving.tried.wait()
        yield serving
        task.cancel()


async def whose(request: Mapping[str, Any]) -> Json:
    return {key: request.get(key) for key in ("account", "role", "by")}


def connected(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(5)
    client.connect(str(path))
    return client


@pytest.mark.parametrize("said", [b"", b'{"ask": "ec', b'{"ask": "big"}\n'], ids=["nothing", "half", "takes nothing"])
async def test_mute_clients_keep_nobody_out(tmp_path: Path, said: bytes) -> None:
    path = tmp_path / NAME
    async with served(path):
        with ExitStack() as stack:
            for _ in range(200):
                client = stack.enter_context(connected(path))
                client.sendall(said)
                await asyncio.sleep(0)
            assert await asyncio.to_thread(ask, path, {"ask": "echo", "say": 1}, 5.0) == {"said": 1}


async def test_a_client_that_takes_no_answer_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_TAKE_S", 0.2)
    path = tmp_path / NAME
    async with served(path):
        with connected(path) as client:
            client.sendall(b'{"ask": "big"}\n')
            with pytest.raises((ConnectionError, EOFError)):
                await asyncio.to_thread(until_closed, client)


def until_closed(client: socket.socket) -> None:
    """Write until it fails; what is sent to us is never read."""
    for _ in range(500):
        client.sendall(b"\n")
        if select_closed(client):
            raise EOFError
    raise AssertionError("still open")


def select_closed(client: socket.socket) -> bool:
    poll = select.poll()
    poll.register(client, select.POLLHUP)
    return bool(poll.poll(20))


# ---- where it lies ----------------------------------------------------------------------------------


async def test_the_folder_of_the_service_comes_first_and_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, store = tmp_path / "run", tmp_path / "store"
    run.mkdir()
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(run))
    assert not store.exists(), "the disk is gone"
    async with served(*control.places(store), store=store):
        assert (run / NAME).is_socket()
        monkeypatch.delenv("RUNTIME_DIRECTORY")
        monkeypatch.setattr(control, "SERVICE_FOLDER", run)
        assert await asyncio.to_thread(Daemon(store).ask, {"ask": "echo", "say": 2}) == {"said": 2}
        with pytest.raises(ConnectionError):
            await asyncio.to_thread(Daemon(tmp_path / "another store").ask, {"ask": "echo", "say": 2})


async def test_it_is_found_in_the_store_where_there_is_no_such_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "missing"))
    async with served(*control.places(tmp_path), store=tmp_path):
        assert await asyncio.to_thread(Daemon(tmp_path).ask, {"ask": "echo", "say": 3}) == {"said": 3}


def test_a_daemon_that_does_not_answer_is_not_none(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as hung:
        hung.bind(str(tmp_path / NAME))
        hung.listen()
        with pytest.raises(NotAnswering, match="does not answer"):
            Daemon(tmp_path).ask({"ask": "read"}, timeout=0.1)


# ---- who it is --------------------------------------------------------------------------------------

NOBODY = pwd.getpwnam("nobody")
_AS_NOBODY = (
    f"import os, socket, sys, time; os.setgroups({{groups}}); os.setgid({NOBODY.pw_gid}); os.setuid({NOBODY.pw_uid})\n"
)
_CLIENT = """

client = socket.socket(socket.AF_UNIX)
client.connect(sys.argv[1])
client.sendall(sys.argv[2].encode() + b"\\n")
print(client.makefile().readline())
"""


async def asked_as_nobody(path: Path, request: Mapping[str, Json], *groups: int) -> Any:
    """Ask from a process of another account."""
    path.chmod(0o666)
    script = _AS_NOBODY.format(groups=list(groups)) + _CLIENT
    words = (sys.executable, "-c", script, str(path), json.dumps(request))
    done = await asyncio.to_thread(subprocess.run, words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def shared() -> Any:
    """A folder that other accounts reach."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@as_root
async def test_the_account_is_what_the_kernel_says(shared: Path) -> None:
    path = shared / NAME
    request: dict[str, Json] = {"ask": "who", "by": "root", "account": "root"}
    async with served(path, people={"nobody": "guard"}):
        assert (await asked_as_nobody(path, request))["result"] == {"account": "nobody", "role": "guard", "by": "root"}


@as_root
@pytest.mark.parametrize(
    ("people", "role", "ok"),
    [
        ({}, "guard", False),
        ({"nobody": "guard"}, "guard", True),
        ({"nobody": "guard"}, "technician", False),
        ({"nobody": "technician"}, "guard", True),
        ({"@daemon": "steward"}, "steward", True),
        ({"@daemon": "steward"}, "technician", False),
        ({"@sys": "technician"}, "guard", False),
        ({"@daemon": "guard", "@bin": "steward"}, "steward", True),
        ({"@daemon": "technician", "nobody": "guard"}, "steward", False),
    ],
)
async def test_a_role_is_of_the_account_and_its_groups(
    shared: Path, people: dict[str, str], role: str, ok: bool
) -> None:
    groups = (grp.getgrnam("daemon").gr_gid, grp.getgrnam("bin").gr_gid)
    path = shared / NAME
    async with served(path, people=people, least={"do": "guard"}):
        answer = await asked_as_nobody(path, {"ask": "do", "by": "zhang", "role": role}, *groups)
        assert answer["ok"] is ok, answer
        assert answer["result"]["role"] == role if ok else "not-allowed" in answer["error"]
        assert (await asked_as_nobody(path, {"ask": "echo", "say": 1}, *groups))["ok"], "everybody may look on"


@as_root
@pytest.mark.parametrize("ask_", ["camera.last", "write"])
async def test_what_shows_plates_or_writes_a_device_is_for_technicians(shared: Path, ask_: str) -> None:
    path = shared / NAME
    for role, ok in (("guard", False), ("steward", False), ("technician", True)):
        async with served(path, people={"nobody": role}, least=LEAST_ROLES):
            answer = await asked_as_nobody(path, {"ask": ask_, "camera": "north", "role": role})
            assert answer["ok"] is ok, answer


@as_root
async def test_root_finds_room_where_others_take_it_all(shared: Path) -> None:
    path = shared / NAME
    hog = f"""{_AS_NOBODY.format(groups=[])}

kept = []
for _ in range(64):
    one = socket.socket(socket.AF_UNIX); one.connect({str(path)!r}); kept.append(one)
print("full", flush=True); sys.stdin.read()  # until it is killed
"""
    async with served(path):
        path.chmod(0o666)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", hog, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        try:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"full\n"
            assert await asyncio.to_thread(ask, path, {"ask": "echo", "say": 1}, 5.0) == {"said": 1}
        finally:
            process.kill()
            await process.communicate()


@as_root
async def test_who_only_looks_on_cannot_take_all_the_time(shared: Path) -> None:
    path = shared / NAME
    flood = f"""{_AS_NOBODY.format(groups=[])}
one = socket.socket(socket.AF_UNIX); one.connect({str(path)!r})
one.sendall(b'{{"ask": "echo", "say": 1}}\\n' * 40)
began, stream = time.monotonic(), one.makefile()
for _ in range(40): assert stream.readline()
print(time.monotonic() - began, flush=True)
"""
    async with served(path):
        path.chmod(0o666)
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", flood, stdout=subprocess.PIPE)
        out, _ = await process.communicate()
        assert float(out) >= 1.9
        began = asyncio.get_running_loop().time()
        for _ in range(40):
            await asyncio.to_thread(ask, path, {"ask": "echo", "say": 1})
        assert asyncio.get_running_loop().time() - began < 1.9, "root is not held up"
