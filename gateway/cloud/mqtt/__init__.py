"""The broker: the only user of paho."""
