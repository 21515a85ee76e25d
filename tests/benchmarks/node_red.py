"""Node-RED with FlowFuse's dashboard: 100 points as somebody would lay them on a page, each another value every second.

    async with node_red(installed(), folder) as server: ...

It comes from npm, with a Node of its own, into `~/.cache/site-gateway` (`XDG_CACHE_HOME`): nothing of it is in the
wheel, in a lock file or in `make test`. Remove that folder to have it fetched anew.
"""

import asyncio
import json
import os
import platform
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.mosquitto import free_port

NODE_RED, DASHBOARD, NODE = "5.0.7", "1.31.0", "24.22.3"
POINTS = 100
_CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "site-gateway"
_MACHINES = {"x86_64": "x64", "aarch64": "arm64"}
_INSTALLS_WITHIN_S = 420.0
_STARTS_WITHIN_S = 60.0


class NoNodeRed(Exception):
    """It cannot be had here; says why."""


@dataclass(frozen=True)
class RunningNodeRed:
    """It runs."""

    pid: int
    url: str
    """Of the page with the points."""
    ready: str
    """True in the page once every point has a value."""
    version: str


def installed() -> Path:
    """The folder that has it: fetched if it is not there. Raises NoNodeRed."""
    machine = _MACHINES.get(platform.machine())
    npm = shutil.which("npm")
    if machine is None or npm is None:
        raise NoNodeRed("npm is not installed" if npm is None else f"Node has no package for {platform.machine()}")
    folder = _CACHE / f"node-red-{NODE_RED}-{DASHBOARD}-{NODE}"
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    making = folder.with_suffix(f".{os.getpid()}")
    making.mkdir()
    (making / "package.json").write_text("{}\n")
    wanted = (f"node-linux-{machine}@{NODE}", f"node-red@{NODE_RED}", f"@flowfuse/node-red-dashboard@{DASHBOARD}")
    words = ("install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", *wanted)
    try:
        done = subprocess.run(
            [npm, *words], cwd=making, capture_output=True, text=True, timeout=_INSTALLS_WITHIN_S, check=False
        )
        if done.returncode:
            raise NoNodeRed(f"npm install {' '.join(wanted)}: {done.stderr.strip()[-400:]}")
        making.rename(folder)
    except subprocess.TimeoutExpired as error:
        raise NoNodeRed(f"npm install did not end within {_INSTALLS_WITHIN_S:.0f} s") from error
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return folder


@asynccontextmanager
async def node_red(folder: Path, user: Path) -> AsyncIterator[RunningNodeRed]:
    """It runs with a page of `POINTS` points; `user`: a folder for what it keeps."""
    user.mkdir()
    port = free_port()
    (user / "flows.json").write_text(json.dumps(_flows()))
    settings = {
        "uiPort": port, "uiHost": "127.0.0.1", "flowFile": "flows.json", "disableEditor": True,
        "telemetry": {"enabled": False, "updateNotification": False}, "nodesDir": str(folder / "node_modules"),
    }  # fmt: skip
    (user / "settings.js").write_text(f"module.exports = {json.dumps(settings)};\n")
    (node,) = folder.glob("node_modules/node-linux-*/bin/node")
    red = folder / "node_modules" / "node-red" / "red.js"
    with (user / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            node, red, "--userDir", user, stdout=log, stderr=log, env={**os.environ, "NODE_ENV": "production"}
        )
    url = f"http://127.0.0.1:{port}/dashboard/points"
    try:
        await _until_up(url, process, user / "log")
        ready = f"""(() => {{ const told = [...document.querySelectorAll('.nrdb-ui-text-value')];
            return told.length === {POINTS} && told.every(one => /\\d/.test(one.textContent)); }})()"""
        yield RunningNodeRed(process.pid, url, ready, f"{NODE_RED} with dashboard {DASHBOARD} on Node {NODE}")
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _until_up(url: str, process: asyncio.subprocess.Process, log: Path) -> None:
    async with asyncio.timeout(_STARTS_WITHIN_S), aiohttp.ClientSession() as session:
        while True:
            assert process.returncode is None, log.read_text()
            try:
                async with session.get(url) as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.1)


def _flows() -> list[dict[str, Any]]:
    """A page with a group of texts; a function gives each a number every second. A word that is an id refers to it."""
    colours = {
        "surface": "#ffffff",
        "primary": "#0094CE",
        "bgPage": "#eeeeee",
        "groupBg": "#ffffff",
        "groupOutline": "#cccccc",
    }
    sizes = {"pagePadding": "12px", "groupGap": "12px", "groupBorderRadius": "4px", "widgetGap": "12px"}
    place = {"z": "id-flow", "x": 100, "y": 100}
    names = [f"id-point-{number}" for number in range(POINTS)]
    return [
        {"id": "id-flow", "type": "tab", "label": "points", "disabled": False},
        {"id": "id-base", "type": "ui-base", "name": "site", "path": "/dashboard", "includeClientData": True,
         "acceptsClientConfig": [], "showPathInSidebar": False, "headerContent": "page",
         "navigationStyle": "default", "titleBarStyle": "default"},
        {"id": "id-theme", "type": "ui-theme", "name": "default", "colors": colours, "sizes": sizes},
        {"id": "id-page", "type": "ui-page", "name": "points", "ui": "id-base", "path": "/points", "icon": "home",
         "layout": "grid", "theme": "id-theme", "order": 1, "className": "", "visible": True, "disabled": False},
        {"id": "id-group", "type": "ui-group", "name": "points", "page": "id-page", "width": 12, "height": 1,
         "order": 1, "showTitle": True, "className": "", "visible": True, "disabled": False},
        {"id": "id-every", "type": "inject", **place, "props": [], "repeat": "1", "once": True,
         "onceDelay": 0.1,
         "wires": [["id-values"]]},
        {"id": "id-values", "type": "function", **place, "outputs": POINTS,
         "wires": [[name] for name in names],
         "func": f"return Array.from({{length: {POINTS}}}, () => ({{payload: Math.floor(Math.random() * 65536)}}));"},
        *({"id": name, "type": "ui-text", **place, "group": "id-group", "order": number,
           "width": 2, "height": 1,
           "name": "", "label": f"point {number}", "format": "{{msg.payload}}", "layout": "row-spread", "style": False,
           "className": "", "wires": []}
          for number, name in enumerate(names)),
    ]  # fmt: skip
