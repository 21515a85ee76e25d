"""The MQTT contract as data: every event type with its topic and JSON Schema, and the AsyncAPI document. Pure.

For `site-gateway schema --events`, the files under `docs/` and the tests; the daemon never loads it.
"""
