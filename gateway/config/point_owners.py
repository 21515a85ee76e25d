"""Which points the site moves or listens to by itself: nobody writes them by hand, and they are asked often."""

from collections.abc import Iterator

from gateway.config.device import ResetPower
from gateway.config.site import SiteFile

OFTEN_S = 1.0
"""Seconds: each of them is read at least that often, ahead of what is only looked at."""


def uses(file: SiteFile) -> Iterator[tuple[str, str]]:
    """Every point that the site moves or listens to by itself, and what for."""
    for name, gate in file.gates.items():
        yield from ((ref, f"gate {name} ({key})") for key, ref in gate.refs().items())
    for name, rule in file.linkage.items():
        yield from ((ref, f"linkage {name} (set)") for ref in rule.set)
        if rule.button is not None:
            yield rule.button, f"linkage {name} (button)"
    if file.annunciator is not None:
        for key in ("fire", "fault", "silence"):
            ref = getattr(file.annunciator, key)
            if ref is not None:
                yield ref, f"the annunciator ({key})"
    if file.self_ is not None:
        for key in ("alive", "mains", "battery"):
            ref = getattr(file.self_, key)
            if ref is not None:
                yield ref, f"the gateway itself ({key})"
    for name, device in file.devices.items():
        if isinstance(device.reset, ResetPower):
            yield device.reset.power, f"the supply of {name}"
