"""A serial bus at the speed of its wire: `python -m tests.benchmarks.paced BAUDRATE UNITS LATENCY SILENT`.

Units 1…UNITS have 125 holding registers and think for LATENCY seconds; the first SILENT of them never answer.
Prints the name of the terminal and serves until standard input ends. BAUDRATE 0: Modbus TCP; prints the port.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

from gateway.config.device import Device
from simulators.bus import Bus, Unit
from simulators.device import VirtualDevice
from simulators.frames import Framing
from simulators.timer import Agenda
from simulators.wire import MbapServer, SerialLine, TcpLine


async def main(baudrate: int, count: int, latency: float, silent: int) -> None:
    """Serve."""
    points = {f"p{at}": {"at": f"holding {at}"} for at in range(125)}
    units = {}
    for number in range(1, count + 1):
        device = Device.model_validate({"line": "l", "unit": number, "points": points})
        units[number] = Unit(VirtualDevice(f"u{number}", device), latency)
        units[number].faults.silent = number <= silent
    agenda = Agenda()
    with tempfile.TemporaryDirectory(prefix="paced-") as folder:
        line: SerialLine | TcpLine
        if baudrate:
            line = SerialLine(Path(folder) / "bus", Bus(Framing(baudrate), units, agenda), agenda)
        else:
            server = MbapServer(units, agenda)
            line = TcpLine(server.talk, agenda, server.counts)
        line.open()
        sys.stdout.write(line.address.rpartition(":")[2] + "\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)
        line.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])))
