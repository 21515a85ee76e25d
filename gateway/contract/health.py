"""The `data` of `gateway.health`. Times in seconds, sizes in bytes, counters since the start of the process. Pure."""

from typing import Final

from gateway.contract.shapes import choice, count, flag, keyed, maybe, moment, number, record, some, text
from gateway.model import Stream

_SECONDS: Final = number(minimum=0)
_AGE: Final = maybe(_SECONDS)


def _by_stream(schema: dict[str, object]) -> dict[str, object]:
    return record({stream.value: schema for stream in Stream})


_ODDITIES: Final = record(
    {
        "strange_bytes": count("On Modbus TCP: bytes that fit nothing"),
        "unasked_frames": count("On Modbus TCP: frames that nobody asked for, late answers too"),
        "floods": count("Connections given up because of too much of either"),
        "unpaired": maybe(count("On RTU: answers and questions that belong to no question of ours")),
        "unproved": maybe(count("On RTU: how often questions did not show that answers belong to them")),
        "confused": maybe(text("On RTU: what came the last time, within the last minute")),
        "reopened": count("Connections that the other side closed, and that were opened again at once"),
        "refused_callers": count("Where devices dial in: connections to the port that were turned away"),
        "replaced_callers": count("… and that a newer connection of the same device took the place of"),
        "identity": maybe(text("How its devices name what they answer, where that is not as the standard has it")),
    }
)

_LINE: Final = record(
    {
        "up": flag("It is open, and something on it answers"),
        "open": flag("The port or connection is open, whoever answers"),
        "detail": {"type": "string", "description": "Why it is down; empty while it is up"},
        "down_for": _AGE,
        "losses": count("How often it was lost"),
        "driver_bugs": count(),
        "busy": number("Share of the last seconds in which a request was under way", minimum=0, maximum=1),
        "overruns": count("Turns that were skipped because the line was late"),
        "oddities": maybe(_ODDITIES | {"description": "What the line put up with on the wire"}),
    }
)

_DEVICE: Final = record(
    {
        "line": text(),
        "answering": maybe(flag("null: neither answered nor found silent yet")),
        "misses": count("In a row"),
        "requests": count(),
        "timeouts": count(),
        "refused": count(),
        "overruns": count(),
        "answer_p50": number("Answer time beyond the wire time"),
        "answer_p95": number(),
        "timeout": number("Present time-out beyond the wire time"),
    }
)

_JOURNAL: Final = record(
    {
        "store": choice(
            ("ok", "lost", "begun-anew"),
            "lost: it cannot be written, events flow from memory; begun-anew, for ten minutes: it had been damaged, "
            "deleted, or put back in time",
        ),
        "losses": count(),
        "commits": count(),
        "rows": count(),
        "commit_seconds": _SECONDS | {"description": "The last commit"},
        "commit_seconds_max": _SECONDS,
        "commit_p50": maybe(number("Seconds, fsync included, over the last 512 commits", minimum=0)),
        "commit_p99": _AGE,
        "queue_bytes": count("Not committed yet"),
        "ahead_of_commit": count("Events accepted before their commit, because the store was lost"),
        "shed": count("Events that had to go; each gap is named by `stream.shed`"),
        "reserve": flag("The space kept for alarms is there"),
        "file_bytes": count(),
        "waiting": _by_stream(count()),
        "quarantined": _by_stream(count()),
        "oldest": _by_stream(_AGE),
    }
)

_UPLINK: Final = record(
    {
        "connected": flag(),
        "since": _SECONDS | {"description": "How long it has been so"},
        "reconnects": count(),
        "in_flight": count(),
        "error": maybe(text("Why the last connection or attempt ended")),
        "latency_p50": maybe(number("Publish to PUBACK, over the last 512", minimum=0)),
        "latency_p99": _AGE,
        "acknowledged": maybe(number("Seconds since the last PUBACK", minimum=0)),
        "accepted": count(),
        "no_listener": count("Accepted, but nobody was subscribed (0x10)"),
        "replies_lost": count(),
        "refused": keyed(count(), "What the broker does not take, streams and retained topics, with its reason code"),
        "retained": flag("The broker keeps the latest of alarm/active, status and health"),
        "found_limit": maybe(count("Largest packet that the broker takes as found out by its hanging up, bytes")),
        "speed": maybe(number("Bytes a second that the link was seen to carry", minimum=0)),
        "window": count("Messages that may be in flight at present, beside alarms"),
        "commands": maybe(text("What is wrong with the subscription to commands")),
        "dropped": keyed(count(), "Messages from the broker that were acknowledged and not taken, by reason"),
    }
)

_CAMERA: Final = {
    "type": "object",
    "description": "What its driver counts since the start",
    "properties": {
        "reachable": maybe(flag("null: silence means nothing, it sends no heart-beats")),
        "last": maybe(number("When it was last heard, seconds since 1970")),
        "scale": choice(("0-1", "0-100", "0-255"), "Of its confidence"),
        "scale_is": choice(
            ("set", "learnt", "doubted", "assumed"),
            "set: by the file or its maker; doubted: the last values differ; assumed: none was sent yet",
        ),
    },
    "additionalProperties": {"type": ["integer", "number", "string", "boolean", "null"]},
}

HEALTH: Final = record(
    {
        "lines": keyed(_LINE),
        "devices": keyed(_DEVICE),
        "journal": _JOURNAL,
        "uplink": _UPLINK,
        "cameras": keyed(_CAMERA, "Plate cameras; absent without any") | {"type": ["object", "null"]},
        "entrance": keyed(count(), "Passages and pictures on their way in") | {"type": ["object", "null"]},
        "strangers": keyed(count(), "Requests that belong to no camera, by reason") | {"type": ["object", "null"]},
        "clock": record({"synced": flag(), "time": moment()}),
        "process": record(
            {
                "version": text("`0.1.0, after 0.2.0 was rolled back`: what runs, and why it is not what is installed"),
                "reduced": flag("Crashed too often: cameras, page and commands are off for a while"),
                "crashes": count("Of late"),
                "refused": some(text(), "Digests of inputs that ended the process, refused since"),
                "refusals": count(),
                "untold": count("Messages of telemetry that could not be told, by an error of our own"),
                "ignored": count("Commands that were not looked at since commands are off"),
            }
        ),
        "machine": record(
            {
                "uptime": _SECONDS,
                "load": some(_SECONDS, "Over 1, 5 and 15 minutes", minItems=3, maxItems=3),
                "resident": count(),
                "cpu_seconds": _SECONDS,
                "disk_free": maybe(count()),
            }
        ),
    }
)
