"""Drivers: one package per protocol; each imports only `gateway.driver` and the vocabulary."""
