"""Drivers: one package per protocol; each knows only `gateway.driver` and the vocabulary."""
