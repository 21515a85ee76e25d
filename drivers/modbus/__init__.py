"""Modbus: serial RTU, TCP, and RTU frames over TCP (MODBUS Application Protocol V1.1b3)."""
