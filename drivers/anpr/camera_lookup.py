"""Identifies the camera by path and source address, never by its payload. Pure."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from typing import Literal

from drivers.anpr.capture import CameraSettings, Capture, passage
from drivers.anpr.makers import FIXED_PATHS, PARSERS
from drivers.anpr.vzenith import RelayOpening
from gateway.driver import CapturedPicture, Push, SecretSource
from gateway.errors import ConfigError
from gateway.model import Instant

PREFIX = "/cameras/"
MOST_PASSAGES = 8
"""The most passages of one push; no car park sends more, and more would displace those of other cameras."""
Refusal = Literal["stranger", "path", "other-camera", "ambiguous"]


@dataclass(frozen=True, slots=True)
class Camera:
    """A plate camera."""

    id: str
    driver: str
    address: str
    """`HOST` or `HOST:PORT`; pushes come from this host, from any port."""
    settings: CameraSettings = field(default_factory=CameraSettings)
    token: SecretSource | None = None
    """The token of the push URL; None: the address alone identifies the camera."""
    opening: RelayOpening | None = None
    """Its own relay, if that is a gate's `open`: the answer to a push may open it (VZenith only)."""
    channel: int | None = None
    """Its channel of the recorder at its address; None: the address is a single camera."""


def checked(cameras: Iterable[Camera]) -> tuple[Camera, ...]:
    """The cameras, after checking that each can push. Raises ConfigError."""
    found = tuple(cameras)
    for one in found:
        if one.driver not in PARSERS:
            raise ConfigError(f"camera {one.id}: {one.driver} pushes no plates; one of {', '.join(PARSERS)}")
        if one.opening is not None and one.driver != "vzenith":
            raise ConfigError(f"camera {one.id}: the answer opens nothing at {one.driver}, only at vzenith")
        host_of(one.address)
    return found


def host_of(address: str) -> str:
    """The host of `HOST`, `HOST:PORT`, `[V6]:PORT`. Raises ConfigError."""
    plain = literal(address)
    if plain is not None:
        return plain
    host = address.rpartition(":")[0] if re.fullmatch(r".+:\d{1,5}", address) else address
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if not host or "/" in host or "@" in host:
        raise ConfigError(f"no address: {address}")
    return literal(host) or host.lower()


def literal(text: str) -> str | None:
    """The compared form of an IP address: IPv4 in IPv6 as IPv4, without scope; None: it is a name."""
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(found)


def push_of(camera: Camera, capture: Capture, at: Instant) -> Push:
    """A capture as the gateway's input."""
    shown = tuple(CapturedPicture(one.role, one.data, one.content_type) for one in capture.pictures)
    return Push(passage(capture, camera.id, camera.settings, at), shown)


class Doors:
    """Cameras by path and source address. `addresses`: the known addresses of each camera's host."""

    def __init__(self, cameras: Collection[Camera]) -> None:
        self._hosts = {one.id: host_of(one.address) for one in cameras}
        self._cameras = {one.id: one for one in cameras}
        self._addresses: dict[str, frozenset[str]] = {}
        self._by_address: Mapping[str, tuple[Camera, ...]] = {}
        self.names = frozenset(host for host in self._hosts.values() if literal(host) is None)
        """Host names that have to be resolved."""
        self._index()

    def resolved(self, name: str, addresses: Iterable[str]) -> None:
        """Set the addresses of one of `names`."""
        self._addresses[name] = frozenset(filter(None, map(literal, addresses)))
        self._index()

    def knows(self, source: str) -> bool:
        """True if a camera has this address."""
        return (literal(source) or source) in self._by_address

    def only(self, source: str) -> Camera | None:
        """The camera of this address, if it has exactly one."""
        mine = self._by_address.get(literal(source) or source, ())
        return mine[0] if len(mine) == 1 else None

    def of_channel(self, camera: Camera, channel: int | None) -> Camera | None:
        """The camera of another channel of this camera's recorder; None: the file has none."""
        if camera.channel is None:
            return None
        alike = (
            one for one in self._cameras.values()
            if one.driver == camera.driver and self._hosts[one.id] == self._hosts[camera.id]
        )  # fmt: skip
        return next((one for one in alike if one.channel == channel), None)

    def find(self, path: str, source: str) -> tuple[Camera, str] | Refusal:
        """The camera, and the path for its maker. A client that is not a camera learns nothing about existing paths."""
        mine = self._by_address.get(literal(source) or source, ())
        if not mine:
            return "stranger"
        if path.startswith(PREFIX):
            id_, slash, rest = path[len(PREFIX) :].partition("/")
            camera = self._cameras.get(id_)
            if camera is None:
                return "path"
            return (camera, slash + rest or "/") if camera in mine else "other-camera"
        makers = {driver for driver, begins in FIXED_PATHS.items() if path.lower().startswith(begins)}
        fitting = [one for one in mine if one.driver in makers]
        if len(fitting) == 1 or (fitting and len({one.channel for one in fitting} - {None}) == len(fitting)):
            return fitting[0], path
        return "ambiguous" if fitting else "path"

    def _index(self) -> None:
        found: dict[str, tuple[Camera, ...]] = {}
        for id_, host in self._hosts.items():
            plain = literal(host)
            for address in {plain} if plain is not None else self._addresses.get(host, frozenset()):
                found[address] = (*found.get(address, ()), self._cameras[id_])
        self._by_address = found
