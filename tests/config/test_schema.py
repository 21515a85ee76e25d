from pathlib import Path
from typing import Any, Literal

import jsonschema  # type: ignore[import-untyped]
import pytest

from gateway.config.load import schema, shipped
from gateway.config.source import read

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SITES = [ROOT / "config" / "example.yaml", ROOT / "config" / "minimal.yaml", HERE / "whole" / "site.yaml"]
PROFILES = sorted(shipped().glob("*.yaml"))


def mistakes(kind: Literal["site", "profile"], tree: dict[str, Any]) -> list[str]:
    validator = jsonschema.Draft202012Validator(schema(kind))
    return [error.json_path for error in validator.iter_errors(tree)]


@pytest.mark.parametrize("kind", ["site", "profile"])
def test_is_a_schema(kind: Literal["site", "profile"]) -> None:
    made = schema(kind)
    assert made["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(made)


@pytest.mark.parametrize("path", SITES, ids=lambda path: path.stem)
def test_accepts_every_example(path: Path) -> None:
    assert mistakes("site", read(path.read_bytes(), "f").tree) == []


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_accepts_every_profile(path: Path) -> None:
    assert mistakes("profile", read(path.read_bytes(), "f").tree) == []


@pytest.mark.parametrize(
    ("key", "value", "where"),
    [
        ("colour", "red", "$"),
        ("gateway", "Box", "$.gateway"),
        ("site", {}, "$.site"),
        ("uplink", {"url": "http://a"}, "$.uplink.url"),
        ("uplink", {"url": "mqtt://a", "password": "hunter2"}, "$.uplink.password"),
        ("devices", {}, "$.devices"),
        ("zones", {"a": {"name": None}}, "$.zones.a.name"),
        ("gates", {"a": {"open": 5}}, "$.gates.a.open"),
    ],
)
def test_refuses(key: str, value: object, where: str) -> None:
    tree = read((ROOT / "config" / "minimal.yaml").read_bytes(), "f").tree
    assert mistakes("site", {**tree, key: value}) == [where]
