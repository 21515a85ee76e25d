"""The tables of the journal, as the steps that make them. The version of a file is the number of its steps."""

STEPS: tuple[tuple[str, ...], ...] = (
    (
        # One row per journal, that is, per numbering. The highest epoch is the present one.
        """CREATE TABLE journal (
            epoch INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, born REAL NOT NULL, newest REAL)""",
        # The last number given in the present epoch, and up to where numbers may be sent before their commit.
        "CREATE TABLE stream (stream INTEGER PRIMARY KEY, last INTEGER NOT NULL, reserved INTEGER NOT NULL)",
        "CREATE TABLE memory (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
        # `mono` and `boot` are set only while an unsynced time of the event may still be corrected.
        """CREATE TABLE event (
            n INTEGER PRIMARY KEY, stream INTEGER NOT NULL, epoch INTEGER NOT NULL, sequence INTEGER NOT NULL,
            at REAL NOT NULL, mono REAL, boot TEXT, payload BLOB NOT NULL)""",
        "CREATE UNIQUE INDEX event_sequence ON event (stream, epoch, sequence)",
        "CREATE INDEX event_soft ON event (n) WHERE mono IS NOT NULL",
        # A row per destination that has not acknowledged the event. state: 0 waits, 1 quarantined.
        """CREATE TABLE outbox (
            destination INTEGER NOT NULL, state INTEGER NOT NULL, stream INTEGER NOT NULL, n INTEGER NOT NULL,
            reason TEXT, PRIMARY KEY (destination, state, stream, n)) WITHOUT ROWID""",
        # Gaps that no `stream.shed` event has reported yet.
        """CREATE TABLE shed (
            id INTEGER PRIMARY KEY, stream INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
            count INTEGER NOT NULL, reason TEXT NOT NULL)""",
    ),
    (
        # The bytes of a picture are deleted together with its event.
        """CREATE TABLE picture (
            n INTEGER PRIMARY KEY REFERENCES event (n) ON DELETE CASCADE, jpeg BLOB NOT NULL)""",
    ),
    (
        # How many commits of this epoch wrote events or memory: detects an older copy of the file.
        "ALTER TABLE journal ADD COLUMN commits INTEGER NOT NULL DEFAULT 0",
    ),
    (
        # Seconds that the box had run when `n` was its last event; needed because a wall clock does not tell an age.
        # About one row an hour.
        "CREATE TABLE age (n INTEGER PRIMARY KEY, lived REAL NOT NULL)",
        "ALTER TABLE journal ADD COLUMN lived REAL",
        # The wall time of the last event; `newest` is the newest one that is trusted.
        "ALTER TABLE journal ADD COLUMN told REAL",
    ),
    (
        # The round of the redo log whose records come after the content of this file.
        "CREATE TABLE round (id INTEGER PRIMARY KEY CHECK (id = 0), round INTEGER NOT NULL)",
    ),
    # From here on the payload of telemetry may be compressed (`sqlite.packed`); read it by the function `unpacked`.
    (),
)

AGED = 4
"""The first version that knows the age of events."""
LOGGED = 5
"""The first version with a redo log."""
PACKED = 6
"""The first version whose telemetry is compressed."""
VERSION = len(STEPS)
OLDEST_IN_USE = 5  # never VERSION: a store of the previous version must stay usable by that version
"""The oldest schema that this program works on without migrating it. While a new version is on trial, a store keeps its
schema so that the previous version can go on with it, and a new store gets the old schema too. When you add a step,
leave this number and make the program work without the step
(`test_the_schema_of_the_version_before_can_be_worked_on`). A later version raises it, when no box has less."""
