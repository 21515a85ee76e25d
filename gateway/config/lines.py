"""The lines of a site: Modbus buses and devices, and the listener for fire panels."""

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from gateway.config.device import Baudrate, Parity
from gateway.config.units import (
    Address,
    Endpoint,
    HexBytes,
    Ip,
    Listen,
    Many,
    Network,
    Registration,
    Strict,
    endpoint,
    is_loopback,
    registrations,
    wrong,
)

# The length apart from the pattern: a counted repeat of that many takes 40 ms to compile, at every start.
SerialPath = Annotated[str, StringConstraints(pattern=r"^/[^\x00-\x1f\x7f]+$", max_length=4001)]


class ModbusLine(Strict):
    """A Modbus line: a serial bus, a TCP device or converter, or RTU frames over TCP."""

    driver: Literal["modbus"]
    serial: SerialPath | None = None
    tcp: Address | None = None
    listen: Listen | None = None
    """Where the line's device dials in (a 4G DTU)."""
    allow: Many[Network] = ()
    """From where it may: addresses or networks."""
    registration: Registration | None = Field(None, alias="register")
    """What it says first: text, or hex for bytes."""
    heartbeat: HexBytes | None = None
    """What it says now and then, in hex."""
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
        """Where to connect, or where the device dials in; None for a serial line."""
        place = self.tcp or self.listen
        return None if place is None else endpoint(place)

    @property
    def registrations(self) -> tuple[bytes, ...]:
        """The forms in which the registration may come: as text, and as the bytes that the same text is in hex."""
        return registrations(self.registration) if self.registration is not None else ()

    @property
    def is_bus(self) -> bool:
        """True if several devices share a wire with RTU frames on it."""
        return self.framing == "rtu"

    @model_validator(mode="after")
    def _one_medium(self) -> Self:
        written = self.model_fields_set
        media = [key for key in ("serial", "tcp", "listen") if getattr(self, key) is not None]
        if len(media) != 1:
            found = f"found {' and '.join(media)}" if media else "found neither serial nor tcp nor listen"
            raise wrong(found, "exactly one of serial, tcp, listen")
        self._guarded(written)
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

    def _guarded(self, written: set[str]) -> None:
        """Who may dial in must be said, unless nobody from outside can."""
        if self.listen is None:
            for field, key in (("allow", "allow"), ("registration", "register"), ("heartbeat", "heartbeat")):
                if field in written:
                    raise wrong(f"found {key} on a line that nobody dials in on", "only with listen", key)
        elif not self.allow and not is_loopback(endpoint(self.listen).host):
            raise wrong("found no allow", f"the addresses that may connect, because {self.listen} is no loopback")


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
