"""The JSON Schema (draft 2020-12) of what may be written, made from the models."""

from collections.abc import Iterator
from typing import Any, Literal

from gateway.config.device import Profile
from gateway.config.reference import describe
from gateway.config.site import SiteFile

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def build(kind: Literal["site", "profile"]) -> dict[str, Any]:
    """The schema of a site file or of a profile."""
    model = SiteFile if kind == "site" else Profile
    result: dict[str, Any] = model.model_json_schema(by_alias=True)
    for node in _nodes(result):
        _without_null(node)
        _rename(node)
        node.pop("default", None)
    definitions = result["$defs"] = {_key(name): node for name, node in result["$defs"].items()}
    definitions["Point"].pop("required" if kind == "site" else "", None)
    if kind == "site":
        _as_written(definitions)
    schema = {"$schema": _DIALECT, "title": f"site-gateway {kind}", **{k: v for k, v in result.items() if k != "title"}}
    describe(schema)
    return schema


def _key(model: str) -> str:
    """How the schema names a model: without the `Entry` that tells it from what is built of it."""
    return model.removesuffix("Entry")


def _rename(node: dict[str, Any]) -> None:
    for key, value in node.items():
        if key in ("$ref", "title") and isinstance(value, str):
            node[key] = _key(value)
        elif key == "mapping" and isinstance(value, dict):
            node[key] = {word: _key(ref) if isinstance(ref, str) else ref for word, ref in value.items()}


def _as_written(definitions: dict[str, Any]) -> None:
    """A device's keys lie over those of its profile, so that none of a point's keys has to be there."""
    device = definitions["Device"]["properties"]
    device.pop("components", None)
    device["points"] = {"anyOf": [device["points"], {"type": "string", "description": "CSV of a panel's components"}]}
    definitions["Secret"].update(minProperties=1, maxProperties=1)
    for name in ("Limits", "Supervised", "Pulse", "Loss", "ProfileSource", "ResetPoint", "ResetPower"):
        if name in definitions:
            definitions[name].pop("required", None)
    reset = device.get("reset")
    if reset is not None:
        reset["anyOf"] = reset.pop("oneOf", reset.get("anyOf", []))


def _nodes(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        for inner in list(node.values()):
            yield from _nodes(inner)
        yield node
    elif isinstance(node, list):
        for inner in node:
            yield from _nodes(inner)


def _without_null(node: dict[str, Any]) -> None:
    """A key without a value is an error: absent means absent."""
    branches = node.get("anyOf")
    if not isinstance(branches, list) or {"type": "null"} not in branches:
        return
    rest = [branch for branch in branches if branch != {"type": "null"}]
    if len(rest) == 1:
        node.pop("anyOf")
        node.update(rest[0])
    else:
        node["anyOf"] = rest
