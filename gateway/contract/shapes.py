"""Pieces of JSON Schema (draft-07, the dialect of AsyncAPI and CloudEvents). Pure.

Absent is null: a field that may be null may also be left out, every other one is required.
"""

from collections.abc import Iterable, Mapping
from typing import Any

Schema = dict[str, Any]

DIALECT = "http://json-schema.org/draft-07/schema#"


def text(description: str = "", **more: Any) -> Schema:
    """Text that is not empty."""
    return _described({"type": "string", "minLength": 1, **more}, description)


def number(description: str = "", **more: Any) -> Schema:
    """A number; NaN and infinity do not exist in JSON."""
    return _described({"type": "number", **more}, description)


def count(description: str = "", **more: Any) -> Schema:
    """A whole number, not negative."""
    return _described({"type": "integer", "minimum": 0, **more}, description)


def flag(description: str = "") -> Schema:
    """True or false."""
    return _described({"type": "boolean"}, description)


def choice(words: Iterable[str], description: str = "") -> Schema:
    """One of these words."""
    return _described({"type": "string", "enum": list(words)}, description)


def moment(description: str = "") -> Schema:
    """A time: RFC 3339, UTC, microseconds, `Z`."""
    pattern = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$"
    return _described({"type": "string", "format": "date-time", "pattern": pattern}, description)


def sequence(description: str = "") -> Schema:
    """A sequence number: 20 digits, so that text order is number order."""
    return _described({"type": "string", "pattern": "^[0-9]{20}$"}, description)


def value(description: str = "") -> Schema:
    """A decoded value; null is "no value", never zero."""
    return _described({"type": ["boolean", "number", "string", "null"]}, description)


def some(items: Schema, description: str = "", **more: Any) -> Schema:
    """A list."""
    return _described({"type": "array", "items": items, **more}, description)


def keyed(values: Schema, description: str = "") -> Schema:
    """An object with ids as keys."""
    return _described({"type": "object", "additionalProperties": values}, description)


def maybe(schema: Schema) -> Schema:
    """The same, or null, or left out."""
    result = {**schema, "type": [*_types(schema), "null"]}
    if "enum" in schema:
        result["enum"] = [*schema["enum"], None]
    return result


def record(fields: Mapping[str, Schema], description: str = "") -> Schema:
    """An object with exactly these fields."""
    required = [name for name, schema in fields.items() if "null" not in _types(schema)]
    schema: Schema = {"type": "object", "properties": dict(fields)}
    if required:
        schema["required"] = required
    return _described({**schema, "additionalProperties": False}, description)


def _types(schema: Schema) -> list[str]:
    kind = schema.get("type", [])
    return [kind] if isinstance(kind, str) else list(kind)


def _described(schema: Schema, description: str) -> Schema:
    return {**schema, "description": description} if description else schema
