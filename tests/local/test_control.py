"""The control socket, with a real client, good and bad."""

import asyncio
import stat
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import DeviceSilent, GatewayError
from gateway.local.control import NAME, Control, ask
from gateway.model import Json


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
        task = group.create_task(Control(path, {"echo": echo, "read": silent}).run(), name="control")
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


async def test_a_line_without_end_is_cut_off(path: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"x" * 200_000)

    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        assert await reader.readexactly(1) == b""
    writer.close()
    assert await asyncio.to_thread(ask, path, {"ask": "echo", "say": 1}) == {"said": 1}
