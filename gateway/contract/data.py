"""The `data` of the events that the site tells: alarms, access, gates, rounds, audit, telemetry. Pure."""

from typing import Final, get_args

from gateway.contract.shapes import (
    choice,
    count,
    flag,
    keyed,
    maybe,
    moment,
    number,
    record,
    sequence,
    some,
    text,
    value,
)
from gateway.kinds import ALARM_KINDS, PassageReason
from gateway.model import Quality, Reason, Stream

QUALITY: Final = [quality.value for quality in Quality]

ALARM: Final = record(
    {
        "alarm": text("The occurrence; the same from its raise to its end, over restarts"),
        "name": text("The alarm's name in the site file, or a built-in one (`silent`, `down`, …)"),
        "kind": choice(ALARM_KINDS),
        "severity": choice(("critical", "high", "medium", "low")),
        "class": choice(("major", "complex", "ordinary"), "The service class, which sets `resolve_by`"),
        "state": choice(("unack", "ack", "rtn-unack", "latched-unack", "latched-ack", "normal"), "After ISA-18.2"),
        "active": flag("The condition holds"),
        "acknowledged": flag("A person has seen it"),
        "latched": flag("It stays until a reset, also with the condition gone"),
        "shelved": flag("People are not disturbed by it; linkage still counts it"),
        "disabled": flag("Its device is out of linkage"),
        "first_out": flag("It was the first alarm of its zone"),
        "device": maybe(text("null: a line or the gateway itself, see `subject`")),
        "point": maybe(text()),
        "zone": maybe(text()),
        "place": maybe(text("Where it is, in people's words")),
        "value": value("At the transition; null if no reading shows it"),
        "text": maybe(text("The word for the value, or the cause of a built-in alarm")),
        "unit": maybe(text()),
        "quality": maybe(choice(QUALITY)),
        "raised_at": moment(),
        "acknowledged_at": maybe(moment()),
        "acknowledged_by": maybe(text()),
        "verified_as": maybe(choice(("real", "false", "test", "unknown"))),
        "cleared_at": maybe(moment("When the condition was gone")),
        "respond_by": maybe(moment("The service clock: answered")),
        "resolve_by": maybe(moment("The service clock: solved")),
        "verify_by": maybe(moment("A fire: verified by a person")),
        "shelved_until": maybe(moment()),
        "overdue": flag("A service clock has run out"),
        "chattering": maybe(
            flag("It changes more than 10 times a minute: told as active, summed once a minute; else absent")
        ),
        "count": maybe(count("Of one that is chattering: how often its condition came or went since the last event")),
        "uncommitted": maybe(
            flag(
                "Only in `alarm.active`: a fire that is told before it is stored, because the disk is slow; else absent"
            )
        ),
        "device_time": maybe(moment("What a fire panel's own clock said; other devices have none")),
    }
)

DEVICE: Final = record(
    {
        "device": text(),
        "zone": maybe(text()),
        "reason": maybe(text()),
        "by": maybe(text("Who asked for it")),
        "until": maybe(moment("When it ends by itself")),
    }
)

PASSAGE: Final = record(
    {
        "passage": text("The passage; the same in the events of its gate and its pictures"),
        "camera": text(),
        "gate": maybe(text()),
        "direction": maybe(choice(("in", "out"))),
        "plate": maybe(text("Normalised; null: no plate was read")),
        "plate_raw": maybe(text("As the camera sent it")),
        "plate_kind": maybe(text("`other`: fits no kind of plate")),
        "colour": maybe(text()),
        "confidence": maybe(number("Normalised", maximum=100, minimum=0)),
        "list_kind": maybe(choice(("resident", "visitor", "staff", "service", "blocked"))),
        "decision": choice(("opened", "denied", "held-open", "rate-limited", "no-gate")),
        "reason": choice(get_args(PassageReason), "The rule that decided, or what came in between"),
        "seen_at": maybe(moment("The camera's time")),
        "ordered_at": maybe(moment("When the gate was told to open")),
        "opened_at": maybe(moment("When the gate had taken the order")),
        "pictures": maybe(some(text(), "Ids of `picture.taken`")),
        "late": flag("From the camera's history: it opened nothing"),
    }
)

GATE: Final = record(
    {
        "gate": text(),
        "cause": choice(("fire", "passage", "command", "page", "round", "button", "other", "unknown")),
        "by": maybe(text("The person or program that asked")),
        "passage": maybe(text()),
        "alarm": maybe(text()),
        "commanded": maybe(choice(("idle", "opening", "held", "held-after-fire"))),
        "actual": maybe(choice(("up", "down", "moving", "unknown", "power-lost"))),
        "verified": maybe(flag("The gate's own feedback says so; null: it has none")),
    }
)

EVIDENCE: Final = record(
    {
        "raw": value(
            "As the device sent it, before it was decoded: a bit or one register as a number, more registers as words"
            " in hex; of a device, the points that it was asked for, each with its name"
        ),
        "text": maybe(text("The word for the value; what stands, what was lost, what a person noted")),
        "answer_ms": maybe(number("How long the device took")),
        "figures": maybe({"type": "object", "description": "What was measured, by name"}),
        "compared_with": maybe(text("The reference picture it was held against")),
        "sha256": maybe(text("Of the picture as the camera or the phone sent it, hex")),
        "clock": maybe(choice(("synced", "unsynced"), "How far `at` may be trusted")),
        "by": maybe(text("Who answered")),
        "presence": maybe(choice(("none", "printed", "ntag424"), "How it was shown that somebody was there")),
    },
    "What the outcome rests on; what is absent is null or left out",
)

ROUND_ITEM: Final = record(
    {
        "item": text("Its kind and target: `point:hydrant-1.pressure`; a second one `#2`. `round` of a missed run"),
        "kind": maybe(text("`point`, `device`, `no_alarm`, `panel`, `duty_check`, `tested`, `camera`, `person`")),
        "outcome": choice(("normal", "abnormal", "not-checkable")),
        "value": value(),
        "unit": maybe(text()),
        "rule": maybe(text("What was asked of the value")),
        "reason": maybe(text("Why it is abnormal or could not be checked")),
        "pictures": maybe(some(text(), "Ids of `picture.taken`")),
        "at": maybe(moment("When it was looked at")),
        "evidence": maybe(EVIDENCE),
    }
)

ROUND: Final = record(
    {
        "round": text("Its name in the site file"),
        "run": text("This run of it"),
        "trigger": maybe(text("What started it: `cron`, `command`, `page`")),
        "planned_at": maybe(moment("The planned minute; null: it was asked for")),
        "started_at": maybe(moment()),
        "finished_at": maybe(moment()),
        "items": maybe(
            some(ROUND_ITEM, "Of a missed run one, `round`: `reason` says why, `value` of how many together")
        ),
        "previous": maybe(text("`digest` of the run of this round before it")),
        "digest": maybe(
            text("SHA-256, hex, of this data without `digest` as JSON: keys sorted, no blanks, UTF-8, as it is sent")
        ),
    }
)

FINDING: Final = record(
    {
        "finding": text("The finding; the same until it is cured"),
        "round": text(),
        "item": text(),
        "opened_at": moment(),
        "cured_at": maybe(moment()),
        "respond_by": maybe(moment()),
        "resolve_by": maybe(moment()),
        "class": maybe(choice(("ordinary", "complex", "major"), "The service class, which sets `resolve_by`")),
        "reason": maybe(text("Why it was opened; where it was cured because its item left the site file, that")),
        "before": maybe(some(text(), "Pictures that opened it, ids of `picture.taken`")),
        "after": maybe(some(text(), "Pictures that cured it")),
        "acknowledged_at": maybe(moment()),
        "acknowledged_by": maybe(text()),
        "overdue": maybe(flag("A service clock has run out")),
    }
)

STARTED: Final = record(
    {
        "version": text(),
        "blind_from": maybe(moment("From here to `blind_until` nobody watched; null: the store is new")),
        "blind_until": maybe(moment()),
        "reason": maybe(
            text("`stood still`: the process did not end, but was stopped or starved meanwhile; else absent")
        ),
    }
)

STOPPING: Final = record({"reason": maybe(text())})

CONFIG: Final = record(
    {
        "digest": maybe(text("SHA-256 of the file that is in force now, hex")),
        "previous": maybe(text("Of the one before")),
        "by": maybe(text()),
        "reason": maybe(text()),
        "version": maybe(text("Of an upgrade that was rolled back: the version that runs again; else absent")),
        "rolled_back": maybe(text("The version that did not prove itself; else absent")),
    }
)

QUARANTINED: Final = record({"file": text("Where the damaged store was set aside")})

_LASTS: Final = record({stream.value: count() for stream in Stream})

ROLLED_BACK: Final = record(
    {
        "journal": text("The journal that has ended"),
        "witness": choice(
            ("high-water", "salvage", "files", "alarm/active"),
            "What gave it away: the mark beside the store, the copy of a damaged one, files that went while in use, "
            "our own retained message",
        ),
        "from": {**_LASTS, "description": "The last number of each stream that the witness knows of; 0: none"},
        "to": {**_LASTS, "description": "The last one that the store still knows of"},
        "missing": some(
            record(
                {
                    "stream": choice(stream.value for stream in Stream),
                    "first": count("Sequence, in the journal that has ended, of the first that is missing", minimum=1),
                    "last": count("… and of the last one; between them others may be there", minimum=1),
                    "count": count("How many are missing at most: some may have been delivered before", minimum=1),
                }
            )
        ),
    }
)

SHED: Final = record(
    {
        "stream": choice(stream.value for stream in Stream),
        "first": count("Sequence of the first event that is missing"),
        "last": count("… and of the last one; between them others may be there"),
        "count": count("How many are missing", minimum=1),
        "reason": text(),
    }
)

PANEL: Final = record(
    {
        "device": text(),
        "component": maybe(text("`systype-sysaddr-comptype-address` in hex")),
        "type": maybe(count("The type of the application unit (GB/T 26875.3)")),
        "text": maybe(text()),
        "by": maybe(text("The operator's number")),
        "raw": maybe(text("The bytes, hex")),
        "device_time": maybe(moment("What the panel's own clock said")),
    }
)

VIEWED: Final = record(
    {
        "by": text(),
        "role": maybe(text()),
        "what": text("`plate`, `picture`, `presence`, `push`, …"),
        "passage": maybe(text()),
        "picture": maybe(text()),
    }
)

READING: Final = record(
    {
        "value": value("BAD has none"),
        "text": maybe(text("The word for the value")),
        "unit": maybe(text()),
        "quality": choice(QUALITY),
        "reason": maybe(choice([reason.value for reason in Reason], "Why it is BAD")),
        "at": moment("When the answer arrived, not when it was sent"),
    }
)

TELEMETRY: Final = record(
    {
        "device": text(),
        "full": flag("Every point of the device is here; else those that changed"),
        "readings": keyed(READING, "By point"),
    }
)

_SUBJECT: Final = text(
    "As of its events: `DEVICE/POINT/NAME`; where no point is meant `WHAT/NAME`, of a device, a camera, a line, a "
    "gate, a zone, a linkage, of a stream or topic that the broker refuses (`access/refused`), or of the box "
    "(`gateway/clock`)"
)

ACTIVE: Final = record(
    {
        "journal": maybe(text("Whose number `upto` is")),
        "upto": sequence("The last alarm event that is in it"),
        "given": maybe(
            record(
                {stream.value: count() for stream in Stream},
                "The last committed number of each stream: a restarted "
                "gateway reads it back, to see whether its store went back in time",
            )
        ),
        "stored": maybe(
            flag("false: the store cannot be written, more numbers than `given` are in use; else left out")
        ),
        "alarms": some(
            {
                **ALARM,
                "properties": {**ALARM["properties"], "subject": _SUBJECT},
                "required": [*ALARM["required"], "subject"],
            },
            "What stands; the most severe first, then the oldest",
        ),
        "more": count("How many more stand, left out because the message would be over 128 KiB"),
    }
)

STATUS: Final = record(
    {
        "online": flag(),
        "nonce": maybe(text("For commands while the gateway's clock is unsynced; null when offline")),
        "version": text(),
    }
)
