"""Commands as JSON Schema, made from `gateway.commands`: claims of the JWT, arguments, results, the reply. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from gateway.arguments import (
    DURATION,
    MAX_ENTRIES,
    MAX_INTEGER,
    MAX_NAME,
    MAX_SITE_FILE_BYTES,
    Anything,
    Count,
    Duration,
    Field,
    Fields,
    FileText,
    Flag,
    Kind,
    Like,
    Many,
    PointValue,
    Record,
    Sequence,
    Text,
    Version,
    Words,
)
from gateway.commands import FROM_AFAR
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

ERRORS: Final = (
    "bad-signature", "wrong-audience", "expired", "retained", "repeated", "not-allowed", "unknown", "bad-args",
    "interlocked", "silent", "refused-by-device",
)  # fmt: skip

_FAMILIES: Final[Mapping[str, Schema]] = {"alarm": ALARM, "gate": GATE}
_FORMS: Final[Mapping[str, Schema]] = {
    "moment": moment(),
    "number": number(),
    "object": {"type": "object"},
    "objects": some({"type": "object"}),
    "readings": keyed(READING),
    "text": text(),
    "texts": some(text()),
    "value": {"type": ["boolean", "number", "string"]},
    "version": {"type": ["string", "integer"]},
}


_OF_SEVERAL_TYPES: Final[Mapping[type, Schema]] = {
    Sequence: {"type": ["integer", "string"], "minimum": 1, "pattern": "^[0-9]{1,20}$"},
    Version: {"type": ["string", "integer"], "minLength": 1, "maxLength": MAX_NAME, "minimum": 0},
    PointValue: {"type": ["boolean", "number", "string"], "maxLength": MAX_NAME},
}


def fields(of: Fields) -> Schema:
    """An object with these fields."""
    return record({name: _field(one) for name, one in of.items()})


def _field(one: Field) -> Schema:
    schema = _kind(one.kind)
    if one.says:
        schema = {**schema, "description": one.says}
    return schema if one.needed else maybe(schema)


def _kind(kind: Kind) -> Schema:
    match kind:
        case Like(family, name):
            schema: Schema = _FAMILIES[family]["properties"][name]
            return schema
        case Many(item):
            return some(_kind(item), maxItems=MAX_ENTRIES)
        case Record(inner):
            return fields(inner)
        case Anything(form):
            return _FORMS[form]
    return _single(kind)


def _single(kind: Kind) -> Schema:
    match kind:
        case Text(most, least):
            return {"type": "string", **({"minLength": least} if least else {}), "maxLength": most}
        case Words(words):
            return choice(words)
        case Duration():
            return {"type": "string", "pattern": f"^{DURATION}$"}
        case Flag():
            return flag()
        case Count(most, least):
            return {"type": "integer", "minimum": least, **({} if most == MAX_INTEGER else {"maximum": most})}
        case FileText():
            return text(maxLength=MAX_SITE_FILE_BYTES)
    return dict(_OF_SEVERAL_TYPES[type(kind)])


ARGS: Final[Mapping[str, Schema]] = {name: fields(one.arguments(on_site=False)) for name, one in FROM_AFAR.items()}
"""The arguments of every command that may be signed."""

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


RESULTS: Final[Mapping[str, Schema]] = {name: fields(one.result) for name, one in FROM_AFAR.items()}
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
