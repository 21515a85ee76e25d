"""From the site file to what is told to modules about the silence of this gateway."""

from collections.abc import Iterator

from gateway.config.points import At, Point
from gateway.config.site import SiteFile
from gateway.model import Value
from gateway.settings.types import OnLoss, safe_name, watchdog_name
from gateway.site.settings import Ref


def losses(file: SiteFile, on_loss: str = "open") -> Iterator[OnLoss]:
    """The outputs of the gates with this `on_loss` whose modules can be told."""
    for name, gate in file.gates.items():
        held = gate.hold or gate.open
        if gate.on_loss != on_loss or not isinstance(held, str):
            continue
        device, _, key = held.partition(".")
        point = file.devices[device].points[key]
        if point.loss is not None:
            safe, watchdog = _value(point.loss.safe, point.safe_on), _value(point.loss.watchdog, point.loss.armed)
            yield OnLoss(name, Ref(device, key), safe, watchdog, point.loss.after)


def settings_of(name: str, point: Point) -> Iterator[tuple[str, At]]:
    """The settings of a device that belong to this output, and where they lie."""
    if point.loss is not None:
        yield safe_name(name), point.loss.safe
        yield watchdog_name(name), point.loss.watchdog


def settings_used(file: SiteFile) -> dict[str, str]:
    """Every setting, and what it is: nobody writes it by hand."""
    return {
        f"{name}.{setting}": f"what {name}.{key} does when the gateway falls silent"
        for name, device in file.devices.items()
        for key, point in device.points.items()
        for setting, _ in settings_of(key, point)
    }


def _value(at: At, word: int) -> Value:
    return bool(word) if at.table == "coil" else word
