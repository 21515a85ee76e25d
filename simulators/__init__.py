"""Runnable stand-ins: a whole site built from its own site file, a scenario player, a broker that misbehaves."""
