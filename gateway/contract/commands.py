"""Commands: the claims of their JWT, the arguments of each, the reply. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from gateway.contract.data import ALARM, GATE, READING
from gateway.contract.shapes import (
    DIALECT,
    Schema,
    choice,
    count,
    flag,
    keyed,
    maybe,
    moment,
    number,
    record,
    some,
    text,
)
from gateway.model import Stream

ERRORS: Final = (
    "bad-signature", "wrong-audience", "expired", "retained", "repeated", "not-allowed", "unknown", "bad-args",
    "interlocked", "silent", "refused-by-device",
)  # fmt: skip

_DURATION: Final = {"type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?(ms|s|m|h|d)$"}
_NOTE: Final = maybe({"type": "string"})
_ENTRY: Final = record(
    {
        "plate": text(),
        "kind": choice(("resident", "visitor", "staff", "service", "blocked")),
        "from": maybe(text("A local date, or RFC 3339")),
        "until": maybe(text("A local date (its end), or RFC 3339")),
        "gates": maybe(some(text(), "null: every gate")),
        "note": _NOTE,
    }
)
_GATE: Final = record({"gate": text(), "reason": _NOTE})
_ALARM: Final = text("The occurrence; or its subject, such as `smoke-3-2f/smoke/fire`, while it stands")
_DEVICE_POINT: Final = record({"device": text("`device` or `device.point`"), "point": maybe(text())})


ARGS: Final[Mapping[str, Schema]] = {
    "gate.open": _GATE,
    "gate.hold": _GATE,
    "gate.release": _GATE,
    "fire.confirm": record({"zone": text(), "note": _NOTE}),
    "alarm.acknowledge": record({"alarm": _ALARM, "note": _NOTE}),
    "alarm.verify": record({"alarm": _ALARM, "result": choice(("real", "false", "test", "unknown")), "cause": _NOTE}),
    "alarm.reset": record({"alarm": _ALARM, "note": _NOTE}),
    "alarm.shelve": record(
        {
            "device": text("`device`, `device.point` or `device.point.alarm`"),
            "for": _DURATION | {"description": "At most 24h; 0s ends it"},
            "note": _NOTE,
        }
    ),
    "device.disable": record({"device": text(), "for": _DURATION | {"description": "At most 12h"}, "reason": _NOTE}),
    "device.enable": record({"device": text(), "for": maybe(_DURATION), "reason": _NOTE}),
    "zone.test": record({"zone": text(), "for": _DURATION | {"description": "At most 4h; 0s ends it"}, "note": _NOTE}),
    "read": _DEVICE_POINT,
    "write": record({"point": text("`device.point`"), "value": {"type": ["boolean", "number", "string"]}}),
    "picture": record({"camera": text()}),
    "inspection.run": record({"round": text()}),
    "inspection.cancel": record({"round": text()}),
    "access.update": record(
        {
            "list": text(),
            "base": maybe({"type": ["string", "integer"], "description": "The version that this changes"}),
            "version": {"type": ["string", "integer"]},
            "put": maybe(some(_ENTRY, maxItems=2000)),
            "drop": maybe(some(text(), maxItems=2000)),
            "full": maybe(flag("The parts are the whole list")),
            "part": maybe(count(minimum=1)),
            "parts": maybe(count(minimum=1)),
        }
    ),
    "access.forget": record({"plate": text()}),
    "access.export": record({"plate": text()}),
    "access.presence": record({"plate": text(), "inside": flag()}),
    "panel.duty": record({"device": text(), "within": _DURATION}),
    "events.replay": record(
        {
            "stream": choice(stream.value for stream in Stream),
            "first": {"type": ["integer", "string"]},
            "last": {"type": ["integer", "string"]},
        }
    ),
    "config.get": record({}),
    "config.apply": record({"file": text("The site file's text, at most 128 KiB"), "trial": maybe(_DURATION)}),
}
"""Every command with its arguments."""

_CLAIMS: Final = {
    "iss": text("Who asks"),
    "sub": text("In whose name; becomes the `by` of what follows"),
    "aud": text("The `source` of this gateway"),
    "iat": number("Seconds since 1970"),
    "exp": number("Seconds since 1970; 120 s after `iat` at most for gates, fire.confirm and write, else 1 h"),
    "nonce": maybe(text("`data.nonce` of the retained status; needed for those commands while the clock is unsynced")),
    "jti": text("Runs once"),
    "cmd": choice(ARGS),
    "args": {"type": "object", "description": "Left out: none"},
}


def claims() -> Schema:
    """The JSON Schema of a command's claims; the payload is the JWT (JWS compact, EdDSA, header `kid`)."""
    schema = record(_CLAIMS)
    return {
        "$schema": DIALECT,
        "$id": "urn:site-gateway:schema:command",
        "title": "Claims of a command",
        **schema,
        "required": [name for name in schema["required"] if name != "args"],
        "allOf": [
            {
                "if": {"properties": {"cmd": {"const": name}}, "required": ["cmd"]},
                "then": {"properties": {"args": args}},
            }
            for name, args in ARGS.items()
        ],
    }


_VERSION: Final = {"type": ["string", "integer"]}
_STATE: Final = {name: GATE["properties"][name] for name in ("commanded", "actual", "verified")}
_UNTIL: Final = moment("When it ends by itself; `for: 0s`: no result")
_STANDS: Final = record({"alarm": text("The occurrence"), "state": ALARM["properties"]["state"]})

RESULTS: Final[Mapping[str, Schema]] = {
    "gate.open": record({"gate": text(), "decision": choice(("opened", "joined", "held-open")), **_STATE}),
    "gate.hold": record({"gate": text(), "decision": choice(("opened", "held-open")), **_STATE}),
    "gate.release": record({"gate": text(), **_STATE}),
    "fire.confirm": record({"zone": text()}),
    "alarm.acknowledge": _STANDS,
    "alarm.verify": _STANDS,
    "alarm.reset": record({"disabled": maybe(text("The device, which was silent: reset on site with a note"))}),
    "alarm.shelve": record({"until": _UNTIL, "alarms": count("So many that stand")}),
    "device.disable": record({"until": _UNTIL}),
    "device.enable": record({}),
    "zone.test": record({"until": _UNTIL}),
    "read": record({"device": text(), "readings": keyed(READING, "By point")}),
    "write": record({"point": text(), "value": {"type": ["boolean", "number", "string"], "description": "Read back"}}),
    "picture": record({"picture": text("The `id` of the `picture.taken` that comes")}),
    "inspection.run": record({}),
    "inspection.cancel": record({}),
    "access.update": record(
        {
            "list": text(),
            "version": _VERSION,
            "lines": maybe(count("In the list that is now in force")),
            "missing": maybe(count("Parts that have still to come; nothing has changed yet", minimum=1)),
        }
    ),
    "access.forget": record(
        {
            "lists": some(text(), "From which it was taken"),
            "csv": some(text(), "Files of people in which it still stands"),
            "events": count("In which it was blanked"),
            "pictures": count("That were erased"),
        }
    ),
    "access.export": record(
        {
            "plate": text(),
            "lists": some({"type": "object"}, "Its line in each list"),
            "inside": maybe({"type": "object", "description": "`kind`, `since`"}),
            "recent": some({"type": "object"}, "`camera`, `at` (seconds since 1970), `late`"),
            "events": some({"type": "object"}, "`type`, `time`, `data` of the kept events that name it"),
            "more": count("Events left out, the oldest"),
        }
    ),
    "access.presence": record({"inside": flag()}),
    "panel.duty": record({}),
    "events.replay": record(
        {"stream": choice(stream.value for stream in Stream), "first": count(), "last": count("What is kept of it")}
    ),
    "config.get": record({"file": text("The site file's text"), "digest": text("Of it, SHA-256")}),
    "config.apply": record(
        {
            "digest": text("Of the new site file"),
            "previous": maybe(text("Of the one before")),
            "changed": flag("false: it is the one that runs"),
            "trial": maybe(number("Seconds after which the one before comes back")),
        }
    ),
}
"""What each command answers when it was carried out. Null in its place: there is nothing to say, or it is a repeat."""

_ERROR: Final = record({"code": choice(ERRORS), "message": {"type": "string"}})

REPLY: Final[dict[str, Any]] = {
    **record(
        {
            "jti": maybe(text("Of the command; null: it named none that can be told")),
            "cmd": maybe(text()),
            "ok": flag(),
            "result": {"type": ["object", "array", "string", "number", "boolean", "null"]},
            "error": maybe(_ERROR),
        }
    ),
    "if": {"properties": {"ok": {"const": False}}},
    "then": {"required": ["error"]},
    "allOf": [
        {
            "if": {"properties": {"cmd": {"const": name}, "ok": {"const": True}}, "required": ["cmd", "ok"]},
            "then": {"properties": {"result": maybe(result)}},
        }
        for name, result in RESULTS.items()
    ],
}

COMMAND: Final = record(
    {
        "jti": maybe(text()),
        "iss": maybe(text()),
        "sub": maybe(text()),
        "account": maybe(text("`on-site` only: the account of the machine that asked; `sub` is the name it gave")),
        "kid": maybe(text("The key that signed, or was said to")),
        "cmd": maybe(text()),
        "args": maybe({"type": "object"}),
        "ok": flag(),
        "error": maybe(_ERROR),
        "count": maybe(count("So many like this one, told together", minimum=1)),
    }
)
