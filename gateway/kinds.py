"""Words that the site file, the contract and the program share: kinds of alarms, roles, reasons. Pure."""

from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

AlarmKind = Literal[
    "fire", "gas", "pre-alarm", "heat-rise", "overtemperature", "water", "electrical", "power", "gate",
    "supervisory", "disabled", "fault", "wire", "battery", "dirty", "tamper", "access", "inspection", "gateway",
]  # fmt: skip
"""Every alarm kind of the site file. A new one stands here and in `ALARM_KINDS`."""


class KindDefaults(NamedTuple):
    """Defaults of an alarm kind, unless the file says otherwise."""

    severity: str
    service_class: str
    latch: bool


_URGENT = KindDefaults("critical", "major", True)
_SERIOUS = KindDefaults("high", "complex", False)
_MINOR = KindDefaults("medium", "ordinary", False)

ALARM_KINDS: Mapping[str, KindDefaults] = {
    **dict.fromkeys(("fire", "gas"), _URGENT),
    **dict.fromkeys(
        (
            "pre-alarm", "heat-rise", "overtemperature", "water", "electrical", "power", "gate", "supervisory",
            "disabled",
        ),
        _SERIOUS,
    ),
    **dict.fromkeys(
        ("fault", "wire", "battery", "dirty", "tamper", "access", "inspection", "gateway"), _MINOR
    ),
}  # fmt: skip
"""Every alarm kind with its severity, service class and latching."""

RETAINED = ("alarm/active", "status", "health")
"""Topics below `T` of which only the latest message counts (page "MQTT contract")."""

PassageReason = Literal[
    "fire", "special", "needs-person", "blocked", "listed", "near-miss", "unknown", "expired", "not-yet", "other-gate",
    "no-plate", "unread", "low-confidence", "no-confidence", "other-kind", "late", "too-late", "silent", "refused",
]  # fmt: skip
"""The rule that decided about a passage, or what prevented it (page "MQTT contract")."""

Role = Literal["guard", "steward", "technician"]
ROLES: tuple[str, ...] = get_args(Role)
"""Roles of people on site; each includes those before it."""
