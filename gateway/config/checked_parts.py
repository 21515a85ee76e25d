"""The good parts of a site file, as the cross checks look at them. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gateway.config.access import AccessEntry, Http
from gateway.config.cameras import CameraEntry
from gateway.config.device import Device, ProfileLine
from gateway.config.gates import GateEntry
from gateway.config.lines import ModbusLine, PanelLine
from gateway.config.linkage import AnnunciatorEntry, LinkageEntry, Own
from gateway.config.points import Point
from gateway.config.problems import Finding, Path, listed, near, nearest, plain, unknown_name
from gateway.config.rounds import PlaceEntry, RoundEntry
from gateway.config.uplink import UplinkEntry


@dataclass(frozen=True, slots=True)
class Facts:
    """Parts that were good in themselves; `written` has the names of all entries, good or not."""

    written: Mapping[str, tuple[str, ...]]
    uplink: UplinkEntry | None
    lines: Mapping[str, ModbusLine | PanelLine]
    devices: Mapping[str, Device]
    shipped: Mapping[str, ProfileLine]
    """Serial settings with which a device leaves the factory, as far as its profile says."""
    gates: Mapping[str, GateEntry]
    cameras: Mapping[str, CameraEntry]
    linkage: Mapping[str, LinkageEntry]
    inspection: Mapping[str, RoundEntry]
    places: Mapping[str, PlaceEntry]
    http: Http | None
    access: AccessEntry | None
    annunciator: AnnunciatorEntry | None
    own: Own | None

    def named(self, section: str, name: str, path: Path) -> Iterator[Finding]:
        """A finding if `name` is no entry of `section`."""
        names = self.written.get(section, ())
        if name not in names:
            yield Finding(path, unknown_name(section.removesuffix("s"), name, names))

    def point(self, ref: str) -> Point | None:
        """The point that `device.point` means, if both are good."""
        device, _, point = ref.partition(".")
        owner = self.devices.get(device)
        return None if owner is None else owner.points.get(point)

    def refers(self, ref: str, path: Path, *, output: bool = False) -> Iterator[Finding]:
        """Findings if `ref` is no point, or (for an output) cannot be written."""
        device, _, name = ref.partition(".")
        names = self.written.get("devices", ())
        if device not in names:
            close = nearest(device, names)
            known = f"devices are: {listed(names, 12)}" if names else "no device is defined"
            hint = "" if close is None else f"; did you mean '{close}.{name}'?"
            text = f"found '{plain(ref)}', and there is no device '{plain(device)}'; {known}{hint}"
            yield Finding(path, text)
            return
        owner = self.devices.get(device)
        if owner is None:
            return
        point = owner.points.get(name)
        if point is None:
            outputs = [one for one, what in owner.points.items() if what.writable or not output]
            text = f"found '{plain(ref)}', and {device} has no point '{plain(name)}'"
            yield Finding(path, f"{text}; its points are: {listed(outputs, 12) or 'none'}{near(name, outputs)}")
        elif output and not point.writable:
            yield Finding(path, f"found '{ref}', which cannot be written; a point with write: true")
