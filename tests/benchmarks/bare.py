"""The floors of delivery: the libraries without any gateway round them.

`python -m tests.benchmarks.bare publish PORT COUNT BYTES PROTOCOL`: paho alone, so many messages at QoS 1 with 64 in
flight; PROTOCOL is 5, or 4 for MQTT 3.1.1.
`python -m tests.benchmarks.bare commit FOLDER PER_SECOND SECONDS`: SQLite alone, one durable commit for each event.
"""

import os
import sqlite3
import sys
import threading
import time
from pathlib import Path
from typing import Any

import orjson
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

WINDOW = 64


def publish(port: int, count: int, size: int, protocol: int) -> None:
    """As fast as the broker acknowledges; prints the seconds."""
    payload, done = b"x" * size, threading.Event()
    left = {"send": count, "hear": count}
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion(protocol))
    client.max_inflight_messages_set(WINDOW)

    def connected(client: Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            os._exit(1)
        for _each in range(WINDOW):
            client.publish("bare/alarm", payload, qos=1)
        left["send"] -= WINDOW

    def heard(client: Client, *_: Any) -> None:
        left["hear"] -= 1
        if left["send"]:
            left["send"] -= 1
            client.publish("bare/alarm", payload, qos=1)
        elif not left["hear"]:
            done.set()

    client.on_connect, client.on_publish = connected, heard
    client.connect("127.0.0.1", port)
    begun = time.monotonic()
    client.loop_start()
    done.wait()
    os.write(1, orjson.dumps({"seconds": time.monotonic() - begun}) + b"\n")
    client.disconnect()
    client.loop_stop()


def store_and_publish(folder: Path, port: int, count: int) -> list[float]:
    """Seconds of one durable commit and one acknowledged message after it, so many times."""
    file = _file(folder)
    answered = threading.Event()
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    client.on_connect = client.on_publish = lambda *_: answered.set()
    client.connect("127.0.0.1", port)
    client.loop_start()
    answered.wait(5.0)
    seconds = []
    for _ in range(count):
        answered.clear()
        begun = time.monotonic()
        file.execute("INSERT INTO event (payload) VALUES (zeroblob(800))")
        client.publish("bare/alarm", b"x" * 800, qos=1)
        answered.wait(5.0)
        seconds.append(time.monotonic() - begun)
    client.disconnect()
    client.loop_stop()
    file.close()
    return seconds


def _file(folder: Path) -> sqlite3.Connection:
    folder.mkdir(exist_ok=True)
    file = sqlite3.connect(folder / "bare.db", isolation_level=None)
    file.execute("PRAGMA journal_mode=wal")
    file.execute("PRAGMA synchronous=FULL")
    file.execute("CREATE TABLE event (n INTEGER PRIMARY KEY, payload BLOB)")
    return file


def commit(folder: Path, rate: float, seconds: float) -> None:
    """One durable commit for each event."""
    file = _file(folder)
    pace = threading.Event()
    due = until = time.monotonic()
    until += seconds
    while due < until:
        pace.wait(max(0.0, due - time.monotonic()))
        file.execute("INSERT INTO event (payload) VALUES (zeroblob(800))")
        due += 1.0 / rate
    file.close()


if __name__ == "__main__":
    if sys.argv[1] == "publish":
        publish(*map(int, sys.argv[2:6]))
    else:
        commit(Path(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]))
