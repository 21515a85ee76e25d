"""The commands that people may ask for, with their arguments, out of the contract."""

from collections.abc import Mapping
from typing import Any, Final

from gateway.contract.commands import ARGS as BY_CONTRACT

_ON_SITE: Final[Mapping[str, Any]] = {
    "alarm.silence": {"properties": {}, "required": []},
    "access.show": {
        "properties": {"plate": {"type": "string"}, "gate": {"type": ["string", "null"]}},
        "required": ["plate"],
    },
    "access.who": {"properties": {}, "required": []},
}
ARGS: Final[Mapping[str, Any]] = dict(sorted({**BY_CONTRACT, **_ON_SITE}.items()))
"""By command the schema of its arguments."""


def usage(command: str) -> str:
    """`gate.open gate=NAME [reason=TEXT]`."""
    schema = ARGS[command]
    words = [command]
    for name, what in schema["properties"].items():
        shown = f"{name}={_values(name, what)}"
        words.append(shown if name in schema.get("required", ()) else f"[{shown}]")
    return " ".join(words)


def _values(name: str, what: Mapping[str, Any]) -> str:
    for schema in (what, *what.get("anyOf", ())):
        if "enum" in schema:
            return "|".join(str(word) for word in schema["enum"] if word is not None)
        if "pattern" in schema:
            return "30m"
        if schema.get("type") == "boolean":
            return "true|false"
    return "TEXT" if name in ("note", "reason", "cause", "file") else "NAME"
