"""Every event type: its topic, its stream, whether it is retained, its JSON Schema. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from gateway.contract import data
from gateway.contract.commands import COMMAND, REPLY
from gateway.contract.health import HEALTH
from gateway.contract.shapes import DIALECT, Schema, choice, maybe, moment, sequence, text
from gateway.model import Stream

Subject = Literal["always", "maybe", "never"]


@dataclass(frozen=True, slots=True)
class EventType:
    """One type of the contract."""

    name: str
    """The short name, `alarm.raised`."""
    topic: str
    """Below `T`."""
    stream: Stream | None
    """None: it has no sequence, only the latest or one's own counts."""
    retained: bool
    family: str
    """Types of one family have the same data."""
    data: Schema | None
    """None: the content is `data_base64`."""
    subject: Subject
    says: str

    @property
    def type(self) -> str:
        """The CloudEvents type, `sitegateway.alarm.raised.v1`."""
        return f"sitegateway.{self.name}.v1"


def _streamed(
    stream: Stream, family: str, schema: Schema | None, subject: Subject, says: Mapping[str, str]
) -> list[EventType]:
    return [EventType(name, stream.value, stream, False, family, schema, subject, text) for name, text in says.items()]


_ALARM: Final = _streamed(
    Stream.ALARM, "alarm", data.ALARM, "always",
    {
        "alarm.raised": "An occurrence begins.",
        "alarm.updated": "Severity, place or first-out changed, or the condition of a latched occurrence is back.",
        "alarm.acknowledged": "A person has seen it.",
        "alarm.verified": "A person has said what it was.",
        "alarm.cleared": "The condition is gone; not latched: the occurrence ends.",
        "alarm.reset": "A latched occurrence ends.",
        "alarm.shelved": "People are not disturbed by it for a while.",
        "alarm.unshelved": "They are again.",
        "alarm.overdue": "A service clock has run out.",
    },
)  # fmt: skip
_DEVICE: Final = _streamed(
    Stream.ALARM, "device", data.DEVICE, "always",
    {
        "device.disabled": "A device is out of linkage.",
        "device.enabled": "It is back.",
    },
)  # fmt: skip
_ACCESS: Final = _streamed(
    Stream.ACCESS, "access", data.PASSAGE, "always",
    {
        "access.passage": "A vehicle passed, or was let pass.",
        "access.denied": "A vehicle was not let pass.",
    },
)  # fmt: skip
_GATE: Final = _streamed(
    Stream.ACCESS, "gate", data.GATE, "always",
    {
        "gate.opened": "One opening.",
        "gate.held": "A cause of holding it open came.",
        "gate.released": "A cause of holding it open went.",
        "gate.stuck": "It did not do what it was told.",
        "gate.moved": "It moved, and not by us.",
    },
)  # fmt: skip
_INSPECTION: Final = _streamed(
    Stream.INSPECTION, "inspection", data.ROUND, "maybe",
    {
        "inspection.started": "A round begins.",
        "inspection.finished": "A round ends; every item with its outcome.",
        "inspection.missed": "A planned run was not run: the box was off, a fire stood, the one before still ran.",
    },
)  # fmt: skip
_FINDING: Final = _streamed(
    Stream.INSPECTION, "finding", data.FINDING, "maybe",
    {
        "finding.opened": "An item was found abnormal, or could not be checked twice in a row.",
        "finding.acknowledged": "A person has seen it, and may have said how grave it is.",
        "finding.overdue": "A service clock of it has run out.",
        "finding.cured": "A later run found it normal, or its item left the site file.",
    },
)  # fmt: skip
_COMMAND: Final = _streamed(
    Stream.AUDIT, "command", COMMAND, "maybe",
    {
        "command.done": "A command was carried out.",
        "command.refused": "A command was refused, or so many of them (`count`).",
    },
)  # fmt: skip
_CONFIG: Final = _streamed(
    Stream.AUDIT, "config", data.CONFIG, "maybe",
    {
        "config.applied": "Another configuration is in force.",
        "config.rolled-back": "The one before is in force again.",
    },
)  # fmt: skip
_AUDIT: Final = [
    *_streamed(Stream.AUDIT, "started", data.STARTED, "maybe", {"gateway.started": "The gateway runs."}),
    *_streamed(Stream.AUDIT, "stopping", data.STOPPING, "maybe", {"gateway.stopping": "It was asked to end."}),
    *_streamed(
        Stream.AUDIT, "quarantined", data.QUARANTINED, "maybe",
        {"store.quarantined": "A damaged store was set aside; `journal` is a new one."},
    ),
    *_streamed(
        Stream.AUDIT, "rolled-back", data.ROLLED_BACK, "maybe",
        {"store.rolled-back": "The store had lost committed events; `journal` is a new one."},
    ),
    *_streamed(Stream.AUDIT, "shed", data.SHED, "maybe", {"stream.shed": "A gap in a stream, and why."}),
    *_streamed(
        Stream.AUDIT, "panel", data.PANEL, "maybe",
        {
            "panel.operation": "Somebody operated a fire panel.",
            "panel.unknown": "A fire panel sent what nobody knows; kept as it came.",
        },
    ),
    *_streamed(
        Stream.AUDIT, "viewed", data.VIEWED, "maybe", {"person.viewed": "Somebody looked at a plate or a picture."}
    ),
]  # fmt: skip
_OTHERS: Final = [
    *_streamed(
        Stream.TELEMETRY, "telemetry", data.TELEMETRY, "always", {"telemetry.readings": "Readings of one device."}
    ),
    *_streamed(Stream.PICTURE, "picture", None, "always", {"picture.taken": "A picture; `subject` is the camera."}),
    EventType("alarm.active", "alarm/active", None, True, "active", data.ACTIVE, "never", "What stands now."),
    EventType("gateway.health", "health", None, True, "health", HEALTH, "never", "How the gateway is, each 60 s."),
    EventType(
        "gateway.status", "status", None, True, "status", data.STATUS, "never",
        "Whether the gateway is online; the Will is the same, offline and without `time`.",
    ),
    EventType("command.reply", "reply", None, False, "reply", REPLY, "maybe", "The answer to a command."),
]  # fmt: skip

EVENTS: Final[Mapping[str, EventType]] = {
    event.type: event
    for group in (*(_ALARM, _DEVICE, _ACCESS, _GATE, _INSPECTION, _FINDING, _COMMAND, _CONFIG, _AUDIT, _OTHERS),)
    for event in group
}
"""Every type of the contract, by its CloudEvents type."""


def schemas() -> dict[str, Schema]:
    """The JSON Schema of every event, by CloudEvents type."""
    return {name: schema(event) for name, event in EVENTS.items()}


def schema(event: EventType) -> Schema:
    """The JSON Schema of the whole message: the CloudEvent in structured JSON mode, data included."""
    return {
        "$schema": DIALECT,
        "$id": f"urn:site-gateway:schema:{event.type}",
        "title": event.type,
        **payload(event, event.data),
    }


def payload(event: EventType, content: Schema | None) -> Schema:
    """The message with `content` as the schema of its data."""
    attributes = _attributes(event)
    if content is None:
        attributes |= {
            "passage": maybe(text()),
            "picturekind": maybe(text()),
            "takenat": maybe(moment()),
            "data_base64": {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/jpeg"},
        }
    else:
        attributes["data"] = content
    optional = {"simulated", "test", "passage", "picturekind", "takenat"}
    if event.name == "gateway.status":
        optional.add("time")
    if event.subject == "maybe":
        optional.add("subject")
    required = [name for name in attributes if name not in optional]
    return {
        "description": event.says,
        "type": "object",
        "properties": attributes,
        "required": required,
        "additionalProperties": False,
    }


def _attributes(event: EventType) -> dict[str, Schema]:
    """The attributes of the envelope, in the order in which they are sent."""
    attributes: dict[str, Schema] = {
        "specversion": {"const": "1.0"},
        "id": text("Never changes, over retries and restarts: drop repeats by (source, id)", format="uuid"),
        "source": text("/sites/SITE/gateways/GATEWAY", pattern="^/sites/[a-z0-9-]+/gateways/[a-z0-9-]+$"),
        "type": {"const": event.type},
    }
    if event.subject != "never":
        attributes["subject"] = text()
    attributes["time"] = moment("When it happened, not when it was sent")
    attributes["datacontenttype"] = {"const": "application/json" if event.data is not None else "image/jpeg"}
    if event.stream is not None:
        attributes["stream"] = {"const": event.stream.value}
        attributes["sequence"] = sequence("From 1 without gaps within (journal, stream)")
        attributes["journal"] = text("Changes only when a store is begun anew")
    attributes["clock"] = choice(("synced", "unsynced", "corrected"), "How far `time` may be trusted")
    attributes["boot"] = text("The boot of the machine that it happened in")
    attributes["simulated"] = {"const": True, "description": "Only there when so: no real site"}
    if event.stream is not None:
        attributes["test"] = {"const": True, "description": "Only there when so: the zone is being tested"}
    return attributes
