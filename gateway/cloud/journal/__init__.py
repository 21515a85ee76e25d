"""The journal: events and memory on disk. The only user of SQLite."""
