"""The broker, and who may send commands."""

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, WithJsonSchema, model_validator

from gateway.commands import FROM_AFAR, GRANTS
from gateway.config.units import (
    BrokerUrl,
    Endpoint,
    FilePath,
    Many,
    Period,
    Rate,
    Secret,
    Size,
    Strict,
    broker,
    is_loopback,
    wrong,
)

ALLOWED = (*FROM_AFAR, *GRANTS)
"""What a key's `allow` may name (page "MQTT contract")."""
if TYPE_CHECKING:
    Allowed = str
else:
    Allowed = Literal[ALLOWED]


def _protocol(value: object) -> object:
    if value == "5":
        return 5
    if value not in (5, "3.1.1") or isinstance(value, bool | float):
        raise ValueError("5 | 3.1.1")
    return value


def _will(value: object) -> object:
    return "off" if value is False else value  # YAML reads `off` as false


class Tls(Strict):
    """Files of the TLS connection to the broker; `ca` absent: the system's authorities."""

    ca: FilePath | None = None
    cert: FilePath | None = None
    key: FilePath | None = None
    strict: bool | None = None
    """False takes certificates of old private authorities (no keyUsage); absent: as Python does, strict since 3.13."""

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.cert is None) != (self.key is None):
            raise wrong("found cert without key" if self.cert else "found key without cert", "both, or neither")
        return self


class Telemetry(Strict):
    """How often the full picture of each device goes out."""

    every: Period = 300.0


class UplinkEntry(Strict):
    """The broker and how to reach it."""

    url: BrokerUrl
    protocol: Annotated[Literal[5, "3.1.1"], BeforeValidator(_protocol), WithJsonSchema({"enum": [5, "3.1.1"]})] = 5
    client_id: Annotated[str, StringConstraints(pattern=r"^[!-~]{0,100}$")] = ""
    """Default: the gateway's id (put in by `load`)."""
    username: Annotated[str, StringConstraints(min_length=1, max_length=500)] | None = None
    password: Secret | None = None
    tls: Tls | None = None
    topic_root: Annotated[str, StringConstraints(pattern=r"^[^/+#$\x00\s]+(/[^/+#\x00\s]+)*$", max_length=100)] = (
        "site-gateway/v1"
    )
    keepalive: Period = Field(30.0, ge=1, le=65535)
    telemetry: Telemetry = Telemetry.model_construct()
    will: Annotated[
        Literal["delayed", "plain", "off"],
        BeforeValidator(_will),
        WithJsonSchema({"enum": ["delayed", "plain", "off", False]}),
    ] = "delayed"
    """How the broker says that we are gone: after 10 s (MQTT 5), at once, or not at all."""
    retain: bool = True
    """False for a broker that takes no retained messages."""
    max_packet: Size = Field(256 << 10, ge=4 << 10, le=255 << 20)
    """The largest packet that is sent; the broker's own limit, if that is less."""
    rate: Rate | None = None
    """Messages that are sent at most; absent: no limit."""

    @property
    def endpoint(self) -> Endpoint:
        """Where to connect, the default port put in."""
        return broker(self.url)

    @property
    def is_secure(self) -> bool:
        """True for mqtts://."""
        return self.url.startswith("mqtts:")

    @property
    def is_local(self) -> bool:
        """True if the broker runs on this machine."""
        return is_loopback(self.endpoint.host)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.tls is not None and not self.is_secure:
            raise wrong("found tls with a mqtt:// url", "mqtts:// uses it", "tls")
        if self.password is not None and self.username is None and self.protocol != 5:
            raise wrong("found a password without username", "protocol 3.1.1 needs both", "password")
        return self


class CommandKey(Strict):
    """A key that may sign commands (Ed25519, a PEM file)."""

    id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:@-]{1,64}$")]
    ed25519: FilePath
    allow: Many[Allowed] | None = None
    """None: the default list of page "MQTT contract"."""


class CommandsEntry(Strict):
    """Who may send commands. Absent: nobody."""

    keys: Annotated[Many[CommandKey], Field(min_length=1)]

    @model_validator(mode="after")
    def _different(self) -> Self:
        ids = [key.id for key in self.keys]
        for number, one in enumerate(ids):
            if one in ids[:number]:
                raise wrong(f"found the key id {one!r} twice", "a different id for each key", f"keys.{number}.id")
        return self
