"""What the daemon keeps in memory: the pieces that came over a socket, and the modules of the site file."""

import subprocess
import sys
from pathlib import Path

from tests.end_to_end.process import running

REMEMBERS = """
import asyncio, os
from gateway.cli.daemon import _give_back_large_pieces
from tests.benchmarks.measure import resident_mib

class Remembers(asyncio.Protocol):
    def __init__(self):
        self.pieces, self.all = [], asyncio.get_running_loop().create_future()
    def connection_made(self, transport):
        self.transport = transport
        transport.write(b"?")
    def data_received(self, data):
        self.pieces.append(data)
        if len(self.pieces) < 5000:
            self.transport.write(b"?")
        else:
            self.all.set_result(None)

async def answers(reader, writer):
    while await reader.read(1):
        writer.write(b"a" * 59)

async def main():
    server = await asyncio.start_server(answers, "127.0.0.1")
    before = resident_mib(os.getpid())
    transport, kept = await asyncio.get_running_loop().create_connection(Remembers, *server.sockets[0].getsockname())
    await asyncio.wait_for(kept.all, 30)
    print(resident_mib(os.getpid()) - before)

_give_back_large_pieces()
asyncio.run(main())
"""


def test_a_short_answer_that_is_remembered_takes_no_page_of_its_own() -> None:
    """A page each would be 20 MiB."""
    done = subprocess.run([sys.executable, "-c", REMEMBERS], capture_output=True, text=True, check=True, timeout=60)
    assert float(done.stdout) < 8


SITE = """\
version: 1
site: {{id: s}}
gateway: g
uplink: {{url: "mqtt://127.0.0.1:9"}}
lines: {{l: {{driver: modbus, tcp: "127.0.0.1:9"}}}}
devices: {{d: {{line: l, points: {{p: {{at: holding 0}}}}}}}}
store: {{path: {store}}}
"""
NOT_USED = (
    "aiohttp",
    "cryptography",
    "PIL",
    "pydantic",
    "rich",
    "segno",
    "cronsim",
    "yaml",
    "gateway.cli.do",
    "simulators",
)


TELLS_AT_THE_END = """
import atexit, os, sys
daemon = os.getpid()
def tell():
    if os.getpid() == daemon:
        print(*("loaded " + name for name in sys.modules), sep="\\n", file=sys.stderr)
atexit.register(tell)
from gateway.cli import main
main()
"""


async def test_a_site_of_modbus_alone_loads_nothing_that_it_does_not_use(tmp_path: Path) -> None:
    """What reading the file needs is loaded in another process, which ends."""
    site = tmp_path / "site.yaml"
    site.write_text(SITE.format(store=tmp_path / "store"))
    async with running(site, ["-c", TELLS_AT_THE_END, "run"]) as gateway:
        await gateway.stop()
    loaded = {
        line.removeprefix("loaded ") for line in gateway.log.read_text().splitlines() if line.startswith("loaded ")
    }
    assert {"gateway.cli.daemon", "gateway.runtime.app", "drivers.modbus.line"} <= loaded
    assert {name for name in loaded if name.startswith(NOT_USED)} == set()
