"""The least that a first value takes: both libraries, one read, one message.

`python -m tests.benchmarks.first MODBUS_PORT BROKER_PORT` publishes on `first/value` and ends.
"""

import asyncio
import sys

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from pymodbus.client import AsyncModbusTcpClient


async def main(modbus: int, broker: int) -> None:
    """Read 25 registers once, and publish them once."""
    client = AsyncModbusTcpClient("127.0.0.1", port=modbus)
    await client.connect()
    answer = await client.read_holding_registers(0, count=25, device_id=1)
    client.close()
    publisher = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    publisher.connect("127.0.0.1", broker)
    publisher.loop_start()
    publisher.publish("first/value", repr(answer.registers), qos=1).wait_for_publish(5.0)
    publisher.disconnect()
    publisher.loop_stop()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
