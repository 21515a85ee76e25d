"""The lines of a site: Modbus buses and devices, and the listener for fire panels."""

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from gateway.config.device import Baudrate, Parity
from gateway.config.units import Address, Endpoint, Ip, Listen, Many, Strict, endpoint, is_loopback, wrong

# The length apart from the pattern: a counted repeat of that many takes 40 ms to compile, at every start.
SerialPath = Annotated[str, StringConstraints(pattern=r"^/[^\x00-\x1f\x7f]+$", max_length=4001)]


class ModbusLine(Strict):
    """A Modbus line: a serial bus, a TCP device or converter, or RTU frames over TCP."""

    driver: Literal["modbus"]
    serial: SerialPath | None = None
    tcp: Address | None = None
    framing: Literal["rtu", "tcp"] = "tcp"
    """`rtu` on a serial line; over TCP `tcp` unless written."""
    baudrate: Baudrate = 9600
    parity: Parity = "none"
    stopbits: Literal[1, 2] = 1
    in_flight: int = Field(1, ge=1, le=16)
    strict: bool = False
    """On Modbus TCP: take only answers with the transaction id and unit of their question."""

    @property
    def endpoint(self) -> Endpoint | None:
        """Where to connect; None for a serial line."""
        return None if self.tcp is None else endpoint(self.tcp)

    @property
    def is_bus(self) -> bool:
        """True if several devices share a wire with RTU frames on it."""
        return self.framing == "rtu"

    @model_validator(mode="after")
    def _one_medium(self) -> Self:
        written = self.model_fields_set
        if (self.serial is None) == (self.tcp is None):
            found = "found neither serial nor tcp" if self.serial is None else "found serial and tcp"
            raise wrong(found, "exactly one of serial, tcp")
        if self.serial is not None:
            if self.framing == "tcp" and "framing" in written:
                raise wrong("found framing tcp on a serial line", "rtu, or leave it out", "framing")
            object.__setattr__(self, "framing", "rtu")
        if not self.is_bus:
            for key in ("baudrate", "parity", "stopbits"):
                if key in written:
                    raise wrong(f"found {key} on a Modbus TCP line", "only with serial, or with framing: rtu", key)
        elif self.in_flight > 1:
            raise wrong(f"found {self.in_flight}", "1: a bus carries one request at a time", "in_flight")
        elif "strict" in written:
            raise wrong("found strict on a bus", "only on a Modbus TCP line: no RTU answer has a number", "strict")
        return self


class PanelLine(Strict):
    """A TCP server for fire panels' transmission units (GB/T 26875.3)."""

    driver: Literal["gb26875"]
    listen: Listen
    allow: Many[Ip] = ()
    confirm: Literal["delivered", "accepted"] = "delivered"

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if not self.allow and not is_loopback(endpoint(self.listen).host):
            raise wrong("found no allow", f"the addresses that may connect, because {self.listen} is no loopback")
        return self


Line = Annotated[ModbusLine | PanelLine, Field(discriminator="driver")]
