"""Small site files for the tests."""

from typing import Any

from gateway.config.site import SiteFile

RELAY = {f"do{n}": {"at": f"coil {n}", "write": True} for n in range(1, 9)}
SENSOR = {f"v{n}": {"at": f"holding {n}"} for n in range(20)}


def site_of(lines: dict[str, Any], devices: dict[str, Any], **more: Any) -> SiteFile:
    """A site with these lines and devices."""
    return SiteFile.model_validate(
        {
            "version": 1,
            "site": {"id": "yard"},
            "gateway": "gw",
            "uplink": {"url": "mqtt://127.0.0.1:1883"},
            "lines": {name: {"driver": "modbus", **line} for name, line in lines.items()},
            "devices": devices,
            **more,
        }
    )


def bus_site(**line: Any) -> SiteFile:
    """One serial bus with two sensors (units 1, 2; registers 0-19) and a relay (unit 3)."""
    return site_of(
        {"bus": {"serial": "/dev/rs485-test", **line}},
        {
            "one": {"line": "bus", "unit": 1, "points": SENSOR},
            "two": {"line": "bus", "unit": 2, "points": SENSOR},
            "relay": {"line": "bus", "unit": 3, "points": RELAY},
        },
    )


def tcp_site(framing: str = "tcp", **line: Any) -> SiteFile:
    """The same behind TCP."""
    return site_of(
        {"net": {"tcp": "192.168.1.20:502", "framing": framing, **line}},
        {
            "one": {"line": "net", "unit": 1, "points": SENSOR},
            "two": {"line": "net", "unit": 2, "points": SENSOR},
            "relay": {"line": "net", "unit": 3, "points": RELAY},
        },
    )
