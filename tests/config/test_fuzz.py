"""Whatever stands in a site file, `load` answers with problems and never raises."""

import copy
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.config.device import Device
from gateway.config.load import load
from gateway.config.model_keys import keys
from gateway.config.points import Alarm, Point
from gateway.config.site import (
    AccessEntry,
    CameraEntry,
    GateEntry,
    Http,
    LinkageEntry,
    ModbusLine,
    RoundEntry,
    SiteFile,
    StoreEntry,
    UplinkEntry,
)
from gateway.config.source import read
from gateway.config.units import Secret

HERE = Path(__file__).parent
BASE = """\
version: 1
site: {id: compound}
gateway: box-01
uplink: {url: "mqtt://127.0.0.1"}
lines:
  bus: {driver: modbus, serial: /dev/rs485-bus}
"""
Steps = tuple[str | int, ...]


def nodes(node: object, path: Steps = ()) -> Iterator[tuple[Steps, object]]:
    """Every place in a tree."""
    items: Iterable[tuple[str | int, object]] = ()
    if isinstance(node, dict):
        items = node.items()
    elif isinstance(node, list):
        items = enumerate(node)
    for key, value in items:
        yield (*path, key), value
        yield from nodes(value, (*path, key))


def put(tree: Any, path: Steps, value: object) -> None:
    """Another value at a place, if the place is still there."""
    key: Any
    for key in path[:-1]:
        if not isinstance(tree, dict | list) or (isinstance(tree, dict) and key not in tree):
            return
        if isinstance(tree, list) and not (isinstance(key, int) and key < len(tree)):
            return
        tree = tree[key]
    key = path[-1]
    if isinstance(tree, dict) or (isinstance(tree, list) and isinstance(key, int) and key < len(tree)):
        tree[key] = value


PROBLEM = re.compile(r"^.+:\d+:\d+: .*$")
MODELS = (
    SiteFile,
    UplinkEntry,
    ModbusLine,
    Device,
    Point,
    Alarm,
    GateEntry,
    CameraEntry,
    Http,
    AccessEntry,
    LinkageEntry,
    RoundEntry,
    StoreEntry,
    Secret,
)
KEYS = st.sampled_from(
    [*sorted({key for model in MODELS for key in keys(model)}), "token", "between", "person", "a", "b"]
)
VALUES = (
    st.sampled_from(
        [
            "1",
            "modbus",
            "gb26875",
            "bus",
            "coil 0",
            "holding 3",
            "1s",
            "xy-md02",
            "none",
            "hunter2",
            "mqtt://h",
            "a.b",
            "in",
        ]
    )
    | st.none()
    | st.integers()
    | st.booleans()
    | st.floats(allow_nan=False)
)
TREES = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=30
)


@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
@given(st.dictionaries(KEYS, TREES, max_size=8))
def test_no_tree_breaks_it(tmp_path: Path, tree: dict[str, object]) -> None:
    check_lines(tmp_path, flow(tree))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.dictionaries(KEYS, TREES, max_size=4),
    st.sampled_from(["uplink", "lines", "devices", "gates", "cameras", "inspection", "linkage"]),
)
def test_no_part_breaks_it(tmp_path: Path, part: dict[str, object], key: str) -> None:
    lines = (BASE + "devices: {a: {profile: xy-md02, line: bus}}\n").splitlines()
    text = "\n".join(line for line in lines if not line.startswith((f"{key}:", "  bus")) or key != "lines")
    text = "\n".join(line for line in text.splitlines() if not line.startswith(f"{key}:"))
    check_lines(tmp_path, f"{text}\n{key}: {flow(part)}\n")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(max_size=400))
def test_no_text_breaks_it(tmp_path: Path, text: str) -> None:
    check_lines(tmp_path, text.encode("utf-8", "ignore").decode())


WHOLE = read((HERE / "whole" / "site.yaml").read_bytes(), "f").tree
PLACES = [path for path, _ in nodes(WHOLE)]


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PLACES), TREES), min_size=1, max_size=3))
def test_no_change_to_the_whole_page_breaks_it(tmp_path: Path, changes: list[tuple[Steps, object]]) -> None:
    tree = copy.deepcopy(WHOLE)
    for path, value in changes:
        put(tree, path, value)
    check_lines(tmp_path, flow(tree))


def check_lines(folder: Path, text: str) -> None:
    path = folder / "site.yaml"
    path.write_text(text, encoding="utf-8", newline="")
    loaded = load(path)
    assert (loaded.site is None) == any(problem.level == "error" for problem in loaded.problems)
    for problem in loaded.problems:
        assert PROBLEM.match(str(problem))
        assert str(problem).isprintable()


def flow(node: object) -> str:
    """A tree as YAML in flow style, so that every scalar stays what it is."""
    if isinstance(node, dict):
        return "{" + ", ".join(f"{key}: {flow(value)}" for key, value in node.items()) + "}"
    if isinstance(node, list):
        return "[" + ", ".join(flow(value) for value in node) + "]"
    if isinstance(node, str):
        return f"'{node}'"
    return "null" if node is None else str(node).lower()
