"""Plate cameras: what they push or stream -> captures. One pure module per maker."""
