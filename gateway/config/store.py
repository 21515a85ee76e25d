"""The store, the property company's service clocks, and the fire centre."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from gateway.config.units import Address, Endpoint, FilePath, Period, Size, Strict, Text, UnitAddress, endpoint, wrong
from gateway.model import DAY_S


class Keep(Strict):
    """How long each kind of record is kept, in seconds."""

    alarm: Period = 400 * DAY_S
    audit: Period = 400 * DAY_S
    inspection: Period = 400 * DAY_S
    access: Period = 30 * DAY_S
    picture: Period = 30 * DAY_S
    telemetry: Period = 7 * DAY_S


class StoreEntry(Strict):
    """Where the journal lies and how large it may grow."""

    path: FilePath = Path("/var/lib/site-gateway")
    max_size: Size = Field(512 << 20, ge=16 << 20)
    alarm_reserve: Size = Field(64 << 20, ge=1 << 20)
    keep: Keep = Keep.model_construct()

    @model_validator(mode="after")
    def _reserve_fits(self) -> Self:
        if self.alarm_reserve > self.max_size // 2:
            raise wrong(
                f"found {self.alarm_reserve >> 20} MiB", f"at most half of max_size, {self.max_size >> 21} MiB",
                "alarm_reserve",
            )  # fmt: skip
        return self


class Service(Strict):
    """Service clocks in seconds: answered, solved by class, a fire verified."""

    respond: Period = 20 * 60.0
    ordinary: Period = 30 * 60.0
    complex: Period = 4 * 3600.0
    major: Period = 24 * 3600.0
    fire_verify: Period = 3 * 60.0


class FireCentre(Strict):
    """A second receiver that takes this gateway as a source, though it is not certified (off unless written)."""

    tcp: Address
    address: UnitAddress
    accepted_by: Text

    @property
    def endpoint(self) -> Endpoint:
        """Where to connect."""
        return endpoint(self.tcp)
