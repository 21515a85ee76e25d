"""Plate cameras that are not there: each maker's payloads, retries, memory and web server."""
