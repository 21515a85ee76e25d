"""The floor: what the two libraries cost without any gateway round them.

`python -m tests.benchmarks.floor MODBUS_PORT BROKER_PORT` reads 40 x 25 registers each second over 40 connections
with pymodbus' own client, and publishes one message of a device's telemetry for each with paho, QoS 1.
Nothing is decoded, stored or watched.
"""

import asyncio
import sys

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from pymodbus.client import AsyncModbusTcpClient

DEVICES = 40
PAYLOAD = b"x" * 3500
"""As large as the event of a device with 25 readings."""


async def main(modbus: int, broker: int) -> None:
    """Run until killed."""
    publisher = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5) if broker else None
    if publisher is not None:
        publisher.connect("127.0.0.1", broker)
        publisher.loop_start()
    async with asyncio.TaskGroup() as group:
        for number in range(DEVICES):
            group.create_task(poll(modbus, number, publisher), name=f"device {number}")


async def poll(port: int, number: int, publisher: Client | None) -> None:
    """Read one device each second."""
    client = AsyncModbusTcpClient("127.0.0.1", port=port)
    await client.connect()
    loop = asyncio.get_running_loop()
    due = loop.time() + number / DEVICES
    while True:
        await asyncio.sleep(due - loop.time())
        due += 1.0
        answer = await client.read_holding_registers(0, count=25, device_id=1)
        assert len(answer.registers) == 25
        if publisher is not None:
            publisher.publish(f"floor/{number}", PAYLOAD, qos=1)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
