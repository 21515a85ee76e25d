"""The AsyncAPI 3.0 document of the contract. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from gateway.contract.commands import ARGS, claims
from gateway.contract.events import EVENTS, EventType, payload

_ROOT: Final = "{topic_root}/{site}/{gateway}"
_CLOUD_EVENT: Final = "application/cloudevents+json"
_BINDING: Final = "0.2.0"

_CHANNELS: Final[Mapping[str, str]] = {
    "alarm": "Transitions of alarms, each once in effect, in order",
    "alarm/active": "The list of what stands; first of all on each connection",
    "access": "Passages and gates",
    "inspection": "Rounds and findings",
    "audit": "Who did what to the gateway, and what happened to it",
    "telemetry": "Readings, one device a message",
    "picture": "Pictures",
    "health": "The state of lines, devices, journal, uplink, clock and machine",
    "status": "Online or not; also the Will",
    "reply": "Answers to commands",
}
_PARAMETERS: Final = {
    "topic_root": {"description": "`uplink.topic_root` of the site file", "default": "site-gateway/v1"},
    "site": {"description": "`site.id`"},
    "gateway": {"description": "`gateway`"},
}
_ATTRIBUTES: Final = {
    name: schema
    for name, schema in payload(EVENTS["sitegateway.alarm.raised.v1"], None)["properties"].items()
    if name in {"id", "source", "subject", "time", "sequence", "journal", "clock", "boot", "simulated", "test"}
}
"""What is the same in every message."""


def document(version: str) -> dict[str, Any]:
    """The whole contract as AsyncAPI; `version`: of the gateway."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "site-gateway",
            "version": version,
            "description": "What the gateway of a residential compound tells over MQTT, and what it may be asked. "
            "Every message up is one CloudEvent 1.0 in structured JSON mode, QoS 1. Absent is null. See mqtt.md.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": _CLOUD_EVENT,
        "servers": {"broker": _server()},
        "channels": {**{_key(topic): _channel(topic) for topic in _CHANNELS}, "command": _command_channel()},
        "operations": {**{f"tell-{_key(topic)}": _tell(topic) for topic in _CHANNELS}, "take-command": _take()},
        "components": {
            "messages": {
                **{event.name: _message(event) for event in EVENTS.values()},
                "command": {
                    "name": "command",
                    "title": "A command",
                    "summary": "A JWT (JWS compact, EdDSA, header `kid`) with the claims of schemas/command.json.",
                    "contentType": "application/jwt",
                    "payload": {"type": "string", "pattern": r"^[\w-]+\.[\w-]+\.[\w-]+$", "maxLength": 262144},
                    "x-claims": {"$ref": "#/components/schemas/command-claims"},
                    "x-commands": list(ARGS),
                },
            },
            "schemas": {
                **{event.family: event.data for event in EVENTS.values() if event.data is not None},
                **{f"attribute-{name}": schema for name, schema in _ATTRIBUTES.items()},
                "command-claims": {key: value for key, value in claims().items() if not key.startswith("$")},
            },
        },
    }


def _key(topic: str) -> str:
    return topic.replace("/", "-")


def _of(topic: str) -> list[EventType]:
    return [event for event in EVENTS.values() if event.topic == topic]


def _server() -> dict[str, Any]:
    return {
        "host": "mqtt.example.com:8883",
        "protocol": "mqtts",
        "protocolVersion": "5.0",
        "description": "`uplink.url` of the site file; MQTT 3.1.1 on request",
        "bindings": {
            "mqtt": {
                "cleanSession": False,
                "keepAlive": 30,
                "sessionExpiryInterval": 3600,
                "lastWill": {
                    "topic": f"{_ROOT}/status",
                    "qos": 1,
                    "retain": True,
                    "message": "gateway.status, offline",
                },
                "bindingVersion": _BINDING,
            }
        },
    }


def _channel(topic: str) -> dict[str, Any]:
    return {
        "address": f"{_ROOT}/{topic}",
        "description": _CHANNELS[topic],
        "parameters": _PARAMETERS,
        "messages": {event.name: {"$ref": f"#/components/messages/{event.name}"} for event in _of(topic)},
    }


def _command_channel() -> dict[str, Any]:
    return {
        "address": f"{_ROOT}/command",
        "description": "Signed commands; never retained",
        "parameters": _PARAMETERS,
        "messages": {"command": {"$ref": "#/components/messages/command"}},
    }


def _tell(topic: str) -> dict[str, Any]:
    return {
        "action": "send",
        "channel": {"$ref": f"#/channels/{_key(topic)}"},
        "summary": _CHANNELS[topic],
        "bindings": {"mqtt": {"qos": 1, "retain": _of(topic)[0].retained, "bindingVersion": _BINDING}},
    }


def _take() -> dict[str, Any]:
    return {
        "action": "receive",
        "channel": {"$ref": "#/channels/command"},
        "summary": "Takes a command; subscribed with Retain As Published, at most 256 KiB",
        "bindings": {"mqtt": {"qos": 1, "retain": False, "bindingVersion": _BINDING}},
        "reply": {"channel": {"$ref": "#/channels/reply"}},
    }


def _message(event: EventType) -> dict[str, Any]:
    content = None if event.data is None else {"$ref": f"#/components/schemas/{event.family}"}
    message = payload(event, content)
    for name in message["properties"].keys() & _ATTRIBUTES.keys():
        message["properties"][name] = {"$ref": f"#/components/schemas/attribute-{name}"}
    return {
        "name": event.type,
        "title": event.name,
        "summary": event.says,
        "contentType": _CLOUD_EVENT,
        "payload": message,
        "bindings": {"mqtt": {"contentType": _CLOUD_EVENT, "bindingVersion": _BINDING}},
    }
