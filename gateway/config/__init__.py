"""The site file: YAML with line numbers in, frozen settings out. Start at `load.py`."""
