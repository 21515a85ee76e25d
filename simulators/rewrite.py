"""The same site file with everything on loopback, marked `simulated: true`.

What need not change stays as it is written; comments are lost.
"""

import copy
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

_TEXT: Final = "tag:yaml.org,2002:str"
_MAP: Final = "tag:yaml.org,2002:map"
_MERGE: Final = "tag:yaml.org,2002:merge"
_NUMBER: Final = "tag:yaml.org,2002:int"
_LOOPBACK: Final = "127.0.0.1"
_FILE_KEYS: Final = frozenset({"file", "ca", "cert", "key", "ed25519", "lists"})
"""Keys whose text is a path relative to the site file."""


class Virtual(NamedTuple):
    """Where a camera is instead."""

    address: str
    """`HOST:PORT` of its web server; it pushes from the same host."""
    secrets: Mapping[str, Path]
    """`password`, `token` -> the file that it stands in."""


def free_address() -> str:
    """A port on loopback that nothing listens on, as `HOST:PORT`."""
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        return f"{_LOOPBACK}:{probe.getsockname()[1]}"


def rewritten(
    source: Path, addresses: Mapping[str, str], cameras: Mapping[str, Virtual], listen: str, *, broker_url: str,
    store_path: Path,
) -> str:  # fmt: skip
    """The text of `source` with loopback addresses (`addresses`: of the lines). The file has been loaded before.

    `listen`: where cameras push to.
    """
    composed = yaml.compose(source.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    if not isinstance(composed, MappingNode):
        raise ValueError(f"{source} is no site file")  # noqa: TRY004 - the text is wrong, not a type
    base = source.absolute().parent
    root = copy.copy(composed)
    root.value = [(copy.copy(name), _alone(value, base, str(name.value))) for name, value in _unmerged(composed)]
    for line, address in addresses.items():
        _replace_line(_inside(root, "lines", line), address)
    uplink = _inside(root, "uplink")
    _put(uplink, "url", broker_url)
    _drop(uplink, "username", "password", "tls")
    for name, part in _children(root, "http"):
        _replace(part, "listen", listen if name == "cameras" else free_address())
    for name, camera in _children(root, "cameras"):
        _replace_camera(camera, cameras[name])
    if _get(root, "fire_centre") is not None:
        _replace(_inside(root, "fire_centre"), "tcp", free_address())
    if _get(root, "store") is None:
        root.value.append((_scalar("store"), MappingNode(_MAP, [], flow_style=True)))
    _put(_inside(root, "store"), "path", str(store_path.absolute()))
    _drop(root, "simulated")
    root.value.append((ScalarNode(_TEXT, "simulated"), ScalarNode("tag:yaml.org,2002:bool", "true")))
    text: str = yaml.serialize(root, Dumper=yaml.CSafeDumper, allow_unicode=True, width=120)
    return text


def _replace_line(line: MappingNode, address: str) -> None:
    if _get(line, "listen") is not None:
        _replace(line, "listen", address)
        _drop(line, "allow")
    elif _get(line, "tcp") is not None:
        _replace(line, "tcp", address)
    else:
        _replace(line, "serial", address)
        parity = _get(line, "parity")
        if parity is not None and parity.value != "none":
            # A terminal of the kernel knows no parity: a second stop bit takes as long on the wire.
            _drop(line, "stopbits")
            _replace(line, "parity", "none")
            _put(line, "stopbits", "2", _NUMBER)


def _replace_camera(camera: MappingNode, virtual: Virtual) -> None:
    _replace(camera, "address", virtual.address)
    shown = _get(camera, "snapshot")
    if shown is not None:
        url = urlsplit(str(shown.value))._replace(scheme="http", netloc=virtual.address)
        _replace(camera, "snapshot", url.geturl())
    for key, file in virtual.secrets.items():
        _drop(camera, key)
        secret = MappingNode(_MAP, [(_scalar("file"), _scalar(str(file)))], flow_style=True)
        camera.value.append((_scalar(key), secret))


def _alone(node: Node, base: Path, key: str = "") -> Node:
    """A copy in which nothing is shared or merged any more and every path of a file stands in full."""
    node = copy.copy(node)
    if isinstance(node, MappingNode):
        node.value = [(copy.copy(name), _alone(value, base, str(name.value))) for name, value in _unmerged(node)]
    elif isinstance(node, SequenceNode):
        node.value = [_alone(value, base, key) for value in node.value]
    elif (key in _FILE_KEYS or (key == "points" and node.tag == _TEXT)) and isinstance(node, ScalarNode):
        return _scalar(str(base / node.value))
    return node


def _unmerged(node: MappingNode) -> list[tuple[Node, Node]]:
    """What the mapping holds with `<<` resolved: keys that are written win, earlier mappings over later ones."""
    held = {name.value: (name, value) for name, value in node.value if name.tag != _MERGE}
    for merged in (value for name, value in node.value if name.tag == _MERGE):
        for mapping in merged.value if isinstance(merged, SequenceNode) else [merged]:
            for name, value in _unmerged(mapping):
                held.setdefault(name.value, (name, value))
    return list(held.values())


def _scalar(text: str, tag: str = _TEXT) -> ScalarNode:
    return ScalarNode(tag, text, style=None if tag == _NUMBER else '"')


def _get(mapping: MappingNode, key: str) -> Node | None:
    return next((value for name, value in mapping.value if name.value == key), None)


def _put(mapping: MappingNode, key: str, text: str, tag: str = _TEXT) -> None:
    if _get(mapping, key) is None:
        mapping.value.append((_scalar(key), _scalar(text, tag)))
    else:
        _replace(mapping, key, text)


def _replace(mapping: MappingNode, key: str, text: str) -> None:
    """Write another text where the key stands; an absent key stays absent."""
    mapping.value = [(name, _scalar(text) if name.value == key else value) for name, value in mapping.value]


def _drop(mapping: MappingNode, *keys: str) -> None:
    mapping.value = [(name, value) for name, value in mapping.value if name.value not in keys]


def _inside(mapping: MappingNode, *keys: str) -> MappingNode:
    """The mapping under these keys. Raises ValueError if there is none."""
    for key in keys:
        node = _get(mapping, key)
        if not isinstance(node, MappingNode):
            raise ValueError(f"no mapping under {'.'.join(keys)}")  # noqa: TRY004 - the text is wrong, not a type
        mapping = node
    return mapping


def _children(root: MappingNode, key: str) -> list[tuple[str, MappingNode]]:
    """The mappings under a key, with their names."""
    node = _get(root, key)
    found = node.value if isinstance(node, MappingNode) else []
    return [(str(name.value), value) for name, value in found if isinstance(value, MappingNode)]
