"""Removes a plate from an event. Pure.

The event stays, under its id, without the plate.
"""

import re

import orjson

from gateway.model import Json

_GONE = "[erased]"
_CANNOT_FOLLOW = "0-9A-Za-z警学港澳挂使领临"
"""Characters after which the text is a longer, different plate."""


class Redaction:
    """Removes one plate, in the form that is written in events."""

    def __init__(self, plate: str) -> None:
        self.plate = plate
        self.needle = plate.encode()
        """Bytes that every event naming it contains."""
        before = "(?<![0-9A-Za-z])" if plate[:1].isascii() else ""
        self._within = re.compile(f"{before}{re.escape(plate)}(?![{_CANNOT_FOLLOW}])")

    def of(self, payload: bytes) -> tuple[bytes, str | None] | None:
        """The event without the plate, and its passage id if it is that car's passage; None: it does not name it."""
        if self.needle not in payload:
            return None
        event = orjson.loads(payload)
        data = event.get("data")
        if not isinstance(data, dict):
            return None
        passage = None
        if self._names(data.get("plate")) or self._names(data.get("plate_raw")):
            data["plate"] = data["plate_raw"] = None
            found = data.get("passage")
            passage = found if isinstance(found, str) else None
        event["data"] = self._without(data)
        changed = orjson.dumps(event)
        return None if changed == payload else (changed, passage)

    def names(self, payload: bytes) -> bool:
        """True if the event names this plate, and not only a longer one that begins with it."""
        return self.needle in payload and self._anywhere(orjson.loads(payload).get("data"))

    def _anywhere(self, value: Json) -> bool:
        if isinstance(value, dict):
            return any(self._names(key) or self._anywhere(one) for key, one in value.items())
        return any(map(self._anywhere, value)) if isinstance(value, list) else self._names(value)

    def _names(self, value: Json) -> bool:
        return isinstance(value, str) and self._within.search(value) is not None

    def _without(self, value: Json) -> Json:
        if isinstance(value, str):
            return self._within.sub(_GONE, value)
        if isinstance(value, dict):
            return {self._within.sub(_GONE, key): self._without(one) for key, one in value.items()}
        if isinstance(value, list):
            return [self._without(one) for one in value]
        return value


def passage_of(payload: bytes) -> str | None:
    """The passage that a picture belongs to."""
    passage = orjson.loads(payload).get("passage")
    return passage if isinstance(passage, str) else None
