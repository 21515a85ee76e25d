"""The connection to the broker: the only user of paho."""
