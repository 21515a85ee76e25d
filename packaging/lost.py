"""Names what a purge loses undelivered, by stream. By the standard library: the program is gone when this runs.

At least that much: what is only in the redo log beside the file is not counted.
"""

import sqlite3

STREAMS = ("alarm", "access", "audit", "inspection", "telemetry", "picture")
"""As the journal numbers them (`Stream`)."""
STORE = "/var/lib/site-gateway/journal.db"

try:
    journal = sqlite3.connect(f"file:{STORE}?mode=ro", uri=True)
    rows = journal.execute("SELECT stream, count(DISTINCT n) FROM outbox GROUP BY stream ORDER BY stream").fetchall()
    told = ", ".join(f"{count} of {STREAMS[stream]}" for stream, count in rows) or "none"
    print(f"site-gateway: the store is removed; events that no broker has, at least: {told}")
except (sqlite3.Error, IndexError) as error:
    print(f"site-gateway: the store is removed; what no broker has cannot be told: {error}")
