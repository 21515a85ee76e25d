"""`site-gateway demo`: the example site whole, on this machine, with nothing but what is installed.

Virtual devices and cameras, a broker (mosquitto, or the one of the simulators where there is none), the gateway as a
process of its own, and a cloud that prints what the broker delivers.
"""

import asyncio
import contextlib
import os
import shlex
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import IO, Any

from gateway.config.load import load
from gateway.config.profiles import shipped
from gateway.errors import GatewayError
from gateway.local.control import NAME, ask
from gateway.runtime.reconfigure import own_command
from simulators import scenario as scenarios
from simulators.broker import LocalBroker
from simulators.cloud import Cloud
from simulators.proxy import Proxy
from simulators.serve import endings, say
from simulators.site import VirtualSite
from simulators.telling import Teller

_PATIENCE_S = 18.0
"""The round takes 12 s: what covers a camera is looked at three times, 5 s apart."""
_ROUND = "nightly"
"""Of the example, which the demo runs first of all."""
_WEAK = "hydrant-1.pressure", 0.12
_COVERED = "yard"
_LOOK_S = 0.3


def demo(seconds: float | None, scenario: str = "demo") -> None:
    """Run until it is ended (see `endings`), or for so many seconds. Raises GatewayError or OSError.

    `scenario`: one of those that come with the examples.
    """
    with tempfile.TemporaryDirectory(prefix="site-gateway-demo-") as folder:
        asyncio.run(_demo(Path(folder), seconds, scenario))


async def _demo(folder: Path, seconds: float | None, name: str) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in endings():
        loop.add_signal_handler(number, stop.set)
    examples = _examples()
    example = examples / "example.yaml"
    loaded = load(example)
    if loaded.site is None:
        raise GatewayError("\n".join(map(str, loaded.problems)))
    scenario = _scenario(examples / "scenarios", name)
    async with _broker(folder) as port, Proxy(port) as way, VirtualSite(loaded.site) as virtual:
        site = folder / "site.yaml"
        url = f"mqtt://127.0.0.1:{way.port}"
        virtual.write_site(example, site, broker_url=url, store_path=folder / "store")
        _introduce(loaded.site.site.name or loaded.site.site.id, virtual, f"mqtt://127.0.0.1:{port}", folder)
        async with asyncio.TaskGroup() as group:
            teller = Teller(loaded.site.site.timezone, colour=_wants_colour())
            cloud = Cloud(port, on_event=lambda _topic, event: _show(teller, event))
            tasks = [group.create_task(cloud.run(), name="cloud")]
            await cloud.until(lambda seen: seen.connections > 0)
            await _take_reference(site)
            async with _gateway(site, folder / "gateway.log"):
                say(f"{scenario.title or scenario.name}: {scenario.steps[-1].at:g} s. Ctrl-C ends the demo.")
                say(f"Meanwhile, in another terminal / 另开终端: {_program()} watch {site}\n")
                tasks.append(group.create_task(_play(virtual, scenario, way, folder / "store"), name="scenario"))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await stop.wait()
            for task in tasks:
                task.cancel()
        say(f"\n{len(cloud.events)} events arrived, {cloud.repeats} repeats, gaps: {cloud.gaps() or 'none'}.")
        _say_what_next(example)


async def _play(virtual: VirtualSite, scenario: scenarios.Scenario, way: Proxy, store: Path) -> None:
    """First of all a round, which finds a weak hydrant and a covered camera; while a fire stood none would begin."""
    virtual.set(*_WEAK)
    virtual.camera(_COVERED).look("covered")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE_S):
            await _round(store)
    await scenarios.play(virtual, scenario, lambda up: _uplink(way, up=up))


async def _take_reference(site: Path) -> None:
    """How the camera has to look; a round sees by it that something hangs before the lens."""
    process = await _begun(own_command("gateway", "picture", str(site), _COVERED, "--reference"))
    await process.wait()


async def _round(store: Path) -> None:
    """Ask for the nightly round as soon as the gateway listens and its lines answer; returns when it has ended."""
    request: dict[str, Any] = {
        "ask": "do", "cmd": "inspection.run", "args": {"round": _ROUND}, "by": "demo", "role": "technician"
    }  # fmt: skip
    begun = False
    while True:
        await asyncio.sleep(_LOOK_S)
        with contextlib.suppress(ConnectionError):
            status: Any = await asyncio.to_thread(ask, store / NAME, {"ask": "status"})
            if not begun and all(line["up"] for line in status["lines"].values()):
                await asyncio.to_thread(ask, store / NAME, request)
                begun = True
            rounds: Any = await asyncio.to_thread(ask, store / NAME, {"ask": "rounds"})
            if begun and _ROUND not in rounds["running"]:
                return


def _examples() -> Path:
    """The example sites that come with the program: beside the profiles, in a package or in a checkout."""
    beside = shipped().parent
    return beside / "examples" if (beside / "examples").is_dir() else beside


def _scenario(folder: Path, name: str) -> scenarios.Scenario:
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    if name not in known:
        raise GatewayError(f"there is no scenario {name!r}; {', '.join(known)}")
    return scenarios.load(folder / f"{name}.yaml")


def _uplink(way: Proxy, *, up: bool) -> None:
    say(f"---- the broker is {'back' if up else 'away'} ----")
    if up:
        way.restore()
    else:
        way.refuse()


def _introduce(name: str, virtual: VirtualSite, url: str, folder: Path) -> None:
    say(f"{name}, simulated. Lines:")
    for line, address in virtual.addresses.items():
        say(f"  {line}: {address}")
    say(f"Cameras, which push to http://{virtual.camera_listener}:")
    for camera in virtual.cameras.values():
        say(f"  {camera.setup.name}: {camera.address}")
    say(f"Broker: {url}   (everything it carries: mosquitto_sub -p {url.rpartition(':')[2]} -v -t '#')")
    say(f"Site file: {folder}/site.yaml   Log: {folder}/gateway.log")


def _program() -> str:
    return shlex.quote(sys.argv[0]) if sys.argv[0].endswith("site-gateway") else f"{sys.executable} -m gateway"


def _say_what_next(example: Path) -> None:
    program, site = _program(), shlex.quote(os.path.relpath(example))
    say("\nWhat to try next / 接下来可以试：")
    steps = {
        f"{program} check {site}": "检查站点文件 break it first, and see how a mistake is named",
        f"{program} simulate {site} --out sim.yaml": "虚拟设备 the devices of this site, until Ctrl-C",
        f"{program} run sim.yaml": "网关 the gateway on them, in another terminal",
        f"{program} watch sim.yaml": "实时查看 what it sees; also alarms, status, events, do",
    }
    for command, what in steps.items():
        say(f"  {command}\n      # {what}")


def _wants_colour() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def _show(teller: Teller, event: dict[str, Any]) -> None:
    line = teller.line(event)
    if line is not None:
        print(line, flush=True)  # noqa: T201 - the teller has made it harmless, its colours stay


async def _begun(
    command: Sequence[str], out: int | IO[bytes] = asyncio.subprocess.DEVNULL
) -> asyncio.subprocess.Process:
    """A process that ends with this one, though this one be killed (by `setpriv` of util-linux)."""
    guard = shutil.which("setpriv")
    command = command if guard is None else (guard, "--pdeathsig", "TERM", *command)
    return await asyncio.create_subprocess_exec(*command, stdout=out, stderr=out, start_new_session=True)


@contextlib.asynccontextmanager
async def _gateway(site: Path, log: Path) -> AsyncIterator[None]:
    with log.open("wb") as stream:
        process = await _begun(own_command("gateway", "run", str(site)), stream)
    try:
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        if await process.wait() != 0:
            say(await asyncio.to_thread(log.read_text, encoding="utf-8", errors="replace"))


@contextlib.asynccontextmanager
async def _broker(folder: Path) -> AsyncIterator[int]:
    """A broker on a free port of loopback: mosquitto, or our own where it is not installed."""
    mosquitto = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if mosquitto is None:
        async with LocalBroker() as broker:
            yield broker.port
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    settings = folder / "mosquitto.conf"
    same_user = "user root\n" if os.geteuid() == 0 else ""  # one that changes its user no longer ends with us
    settings.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n{same_user}")
    process = await _begun((mosquitto, "-c", str(settings)))
    try:
        await _listening(port)
        yield port
    finally:
        process.terminate()
        await process.wait()


async def _listening(port: int) -> None:
    async with asyncio.timeout(_PATIENCE_S):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return
