"""Events as CloudEvents 1.0 in structured JSON mode (page "MQTT contract"). Pure.

The same arguments always give the same bytes. NaN never reaches this module: readings are checked, and
orjson would write it as null.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache

import orjson

from gateway.model import Json, Reading, rfc3339

CONTENT_TYPE = "application/cloudevents+json"

SYNCED = "synced"
UNSYNCED = "unsynced"
CORRECTED = "corrected"


@lru_cache(maxsize=256)
def timestamp(wall: float) -> str:
    """`rfc3339` with a cache, because several events of one moment need the same text."""
    return rfc3339(wall)


def wall_of(text: str) -> float:
    """Seconds since 1970 of an RFC 3339 time. Raises ValueError."""
    return datetime.fromisoformat(text).timestamp()


@lru_cache(maxsize=128)
def type_name(name: str) -> str:
    """`alarm.raised` -> `sitegateway.alarm.raised.v1`."""
    return f"sitegateway.{name}.v1"


def encode(value: object) -> bytes:
    """Encode JSON as it is stored and sent. Raises TypeError for what JSON cannot hold (lone surrogates, > 64 bit)."""
    return _exact(orjson.dumps(value, default=_plain))


def envelope(  # noqa: PLR0913 - the attributes of the contract
    *,
    id_: str,
    source: str,
    type_: str,
    subject: str | None,
    time: str | None,
    clock: str,
    boot: str,
    data: Mapping[str, Json] | bytes | None,
    attributes: Mapping[str, str] | None = None,
    stream: str | None = None,
    sequence: int = 0,
    journal: str = "",
    simulated: bool = False,
    test: bool = False,
) -> bytes:
    """Build a CloudEvent. `data` as bytes is JSON already; `stream` None leaves out stream, sequence and journal.

    Without data it is a picture, whose bytes `with_picture` adds; `attributes` are its additional attributes.
    """
    event: dict[str, object] = {"specversion": "1.0", "id": id_, "source": source, "type": type_}
    if subject is not None:
        event["subject"] = subject
    if time is not None:
        event["time"] = time
    event["datacontenttype"] = "image/jpeg" if data is None else "application/json"
    if stream is not None:
        event["stream"] = stream
        event["sequence"] = f"{sequence:020d}"
        event["journal"] = journal
    event["clock"] = clock
    event["boot"] = boot
    if simulated:
        event["simulated"] = True
    if test:
        event["test"] = True
    if data is None:
        event.update(attributes or {})
    else:
        event["data"] = orjson.Fragment(data) if isinstance(data, bytes) else data
    return _exact(orjson.dumps(event, default=_plain))


def with_picture(payload: bytes, jpeg: bytes) -> bytes:
    """Add the bytes of a picture to its event."""
    return b'%b,"data_base64":"%b"}' % (payload[:-1], b64encode(jpeg))


def telemetry_data(device: str, full: bool, readings: Mapping[str, Reading]) -> dict[str, Json]:
    """Data of `telemetry.readings`: one device with its points."""
    return {"device": device, "full": full, "readings": readings_data(readings)}


def readings_data(readings: Mapping[str, Reading]) -> dict[str, Json]:
    """Points with value, text, unit, quality, reason, at."""
    return {
        point: {
            "value": value,
            "text": text,
            "unit": unit,
            "quality": quality,
            "reason": reason,
            "at": timestamp(at[1]),
        }
        for point, (value, text, unit, quality, reason, at) in readings.items()
    }


def corrected(payload: bytes, wall: float) -> bytes:
    """The event with its true time: `time` becomes `wall`, `clock` becomes corrected.

    The `at` of telemetry's readings and the `takenat` of a picture move by as much.
    """
    event = orjson.loads(payload)
    shift = wall - wall_of(event["time"])
    event["time"] = timestamp(wall)
    event["clock"] = CORRECTED
    if event.get("stream") == "telemetry":
        for reading in event["data"].get("readings", {}).values():
            reading["at"] = timestamp(wall_of(reading["at"]) + shift)
    if "takenat" in event:
        event["takenat"] = timestamp(wall_of(event["takenat"]) + shift)
    return _exact(orjson.dumps(event))


def time_of(payload: bytes) -> float | None:
    """The `time` of an event in seconds since 1970; None if it has none."""
    text = orjson.loads(payload).get("time")
    return None if text is None else wall_of(text)


def _exact(encoded: bytes) -> bytes:
    """The same bytes in memory of their own size: orjson returns the buffer that it wrote into, 8 KiB for 800 B."""
    return bytes(memoryview(encoded))


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence):
        return list(value)
    raise TypeError(f"no JSON for {type(value).__name__}")
