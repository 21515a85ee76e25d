"""What the daemon tells the C library, over a real socket, in a process of its own."""

import subprocess
import sys

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
