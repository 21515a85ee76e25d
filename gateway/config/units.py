"""The scalar types of the site file: durations, sizes, ids, references, files, addresses, secrets.

Every validator here accepts what a technician writes and raises `ValueError` with *what is allowed*;
`problems.py` puts what was found in front of it.
"""

import re
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic import Strict as StrictMode
from pydantic_core import PydanticCustomError

from gateway.arguments import duration
from gateway.secret import SecretPlace

T = TypeVar("T")

_SIZE = re.compile(r"([0-9]{1,12})(KiB|MiB|GiB)")
_RATE = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)/s")
_BYTES = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")
_PORT = 0xFFFF
ID = r"^[a-z0-9][a-z0-9-]{0,62}$"
REF = r"^[a-z0-9][a-z0-9-]{0,62}\.[a-z0-9][a-z0-9-]{0,62}$"
MQTT_PORTS = {"mqtt": 1883, "mqtts": 8883}


def wrong(found: str, allowed: str, key: str | None = None) -> PydanticCustomError:
    """An error that says itself what was found; `key`: which key of the mapping it is about."""
    return PydanticCustomError("said", "{text}", {"text": f"{found}; {allowed}", "key": key})


def by_shape(value: object) -> str:
    """Which branch of a union a value is meant for: a mapping, a list or a word."""
    if isinstance(value, dict | BaseModel):
        return "<mapping>"
    return "<list>" if isinstance(value, list | tuple) else "<word>"


def size(value: object) -> int:
    """Bytes of `512KiB`, `64MiB`, `1GiB`. Raises ValueError."""
    if isinstance(value, str) and (match := _SIZE.fullmatch(value)):
        return int(match[1]) * _BYTES[match[2]]
    raise ValueError("a size with its unit: 512KiB, 64MiB, 1GiB")


def rate(value: object) -> float:
    """Messages a second of `100/s`, `0.5/s`. Raises ValueError."""
    if isinstance(value, str) and (match := _RATE.fullmatch(value)) and float(match[1]) > 0:
        return float(match[1])
    raise ValueError("a number of messages a second: 100/s, 0.5/s")


def _positive(value: float) -> float:
    if value <= 0:
        raise ValueError("more than nothing")
    return value


class Endpoint(NamedTuple):
    """A host and a TCP port."""

    host: str
    port: int


def endpoint(text: object) -> Endpoint:
    """The two halves of `192.168.1.20:502`, `plc.local:502` or `[fe80::1]:502`. Raises ValueError."""
    if isinstance(text, str) and len(text) <= 300:
        host, colon, port = text.rpartition(":")
        if colon and re.fullmatch(r"[0-9]{1,5}", port) and 0 < int(port) <= _PORT:
            bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
            if is_host(bare, bracketed=bare != host):
                return Endpoint(bare, int(port))
    raise ValueError("HOST:PORT with a port 1-65535, such as 192.168.1.20:502")


def is_host(text: str, *, bracketed: bool | None = None) -> bool:
    """True for an IP address (IPv6 only in brackets where a port follows) or a host name."""
    try:
        version = ip_address(text).version
    except ValueError:
        return not bracketed and bool(_HOST.fullmatch(text)) and not re.fullmatch(r"[0-9.]+", text)
    return bracketed is None or bracketed == (version == 6)


_MAX_FILLER_BYTES, _MAX_REGISTRATION_BYTES = 64, 128
"""Bytes of a heart-beat and of a registration."""


def is_loopback(host: str) -> bool:
    """True if `host` cannot be reached from another machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def broker(url: object) -> Endpoint:
    """Where `mqtt://HOST[:PORT]` and `mqtts://HOST[:PORT]` lead (1883, 8883). Raises ValueError."""
    if isinstance(url, str) and len(url) <= 300:
        scheme, slashes, place = url.partition("://")
        if slashes and scheme in MQTT_PORTS:
            place = place.removesuffix("/")
            if "@" in place:
                raise ValueError("mqtt:// or mqtts:// and HOST[:PORT] alone; user and password have keys of their own")
            if is_host(place, bracketed=False):
                return Endpoint(place, MQTT_PORTS[scheme])
            if place.startswith("[") and place.endswith("]") and is_host(place[1:-1], bracketed=True):
                return Endpoint(place[1:-1], MQTT_PORTS[scheme])
            try:
                return endpoint(place)
            except ValueError:
                pass
    raise ValueError("mqtt://HOST[:PORT] or mqtts://HOST[:PORT]")


def _endpoint_text(value: object) -> str:
    endpoint(value)
    return str(value)


def _listen_text(value: object) -> str:
    try:
        ip_address(endpoint(value).host)
    except ValueError:
        raise ValueError("an own IP address and a port, such as 0.0.0.0:8080 or 127.0.0.1:8081") from None
    return str(value)


def _broker_text(value: object) -> str:
    broker(value)
    return str(value)


def _ip_text(value: object) -> str:
    try:
        return str(ip_address(value if isinstance(value, str) else ""))
    except ValueError:
        raise ValueError("an IP address, such as 192.168.1.30") from None


def _network_text(value: object) -> str:
    try:
        network = ip_network(value if isinstance(value, str) else "", strict=False)
    except ValueError:
        raise ValueError("an IP address or a network, such as 10.64.3.7 or 10.64.0.0/16") from None
    return str(network if "/" in str(value) else network.network_address)


def _hex_text(value: object) -> str:
    found = _from_hex(value) if isinstance(value, str) else None
    if found is None or not 1 <= len(found) <= _MAX_FILLER_BYTES:
        raise ValueError(f"1 to {_MAX_FILLER_BYTES} bytes in hex, such as fe or 68 65 61 72 74")
    return str(value)


def _registration_text(value: object) -> str:
    if not isinstance(value, str) or not 2 <= len(value.encode()) <= _MAX_REGISTRATION_BYTES or not value.isprintable():
        raise ValueError("what the device says first, such as its IMEI, or bytes in hex; in quotes if it is a number")
    return value


def registrations(text: str) -> tuple[bytes, ...]:
    """The forms in which a registration may come: as text, and as the bytes that the same text is in hex."""
    found = _from_hex(text)
    return (text.encode(),) if found is None or len(found) < 2 else (text.encode(), found)


def _from_hex(text: str) -> bytes | None:
    """`6869`, `68 69`, `0x6869` as bytes; None if it is no hex."""
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        return None


def _host_text(value: object) -> str:
    if isinstance(value, str) and is_host(value):
        return value
    try:
        endpoint(value)
    except ValueError:
        raise ValueError("an IP address or a host name, such as 192.168.1.64") from None
    return str(value)


def _web_text(value: object) -> str:
    try:
        parts = urlsplit(value) if isinstance(value, str) and not re.search(r"[\s\x00-\x1f]", value) else None
        good = parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, good = None, False
    if parts is None or not good or len(str(value)) > 2000:
        raise ValueError("http://HOST/PATH or https://HOST/PATH")
    if "@" in parts.netloc:
        raise ValueError("a URL without user and password: they have keys of their own")
    return str(value)


def _path(value: object, info: ValidationInfo) -> Path:
    """Relative paths are relative to the site file (`context["base"]`)."""
    if isinstance(value, Path):
        return value
    if isinstance(value, str) and value and "\0" not in value and len(value) <= 4096:
        return Path((info.context or {}).get("base", ""), value)
    raise ValueError("the path of a file, relative to the site file")


def _hex_address(value: object) -> str:
    if isinstance(value, str) and re.fullmatch(r"[0-9A-Fa-f]{2}( [0-9A-Fa-f]{2}){5}", value):
        return value.upper()
    raise ValueError('six bytes in hex, as "79 03 00 00 00 00"')


def _text(kind: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "description": kind})


Duration = Annotated[
    float, BeforeValidator(duration), WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?(ms|s|m|h|d)$"})
]
"""Seconds, written with a unit."""

Period = Annotated[
    float,
    AfterValidator(_positive),
    BeforeValidator(duration),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?(ms|s|m|h|d)$"}),
]
"""Seconds, written with a unit, more than nothing."""

Rate = Annotated[float, BeforeValidator(rate), WithJsonSchema({"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?/s$"})]
Size = Annotated[int, BeforeValidator(size), WithJsonSchema({"type": "string", "pattern": r"^\d+(KiB|MiB|GiB)$"})]
"""Bytes, written with a unit."""

Many = Annotated[tuple[T, ...], StrictMode(False)]
"""A list in the file, a tuple in the settings."""

Id = Annotated[str, StringConstraints(pattern=ID)]
Ref = Annotated[str, StringConstraints(pattern=REF)]
"""A point of a device: `device.point`."""

Text = Annotated[str, StringConstraints(min_length=1, max_length=200)]
"""Words for people."""

FilePath = Annotated[Path, BeforeValidator(_path), _text("path of a file, relative to the site file")]
Address = Annotated[str, BeforeValidator(_endpoint_text), _text("HOST:PORT")]
"""Where to connect: `HOST:PORT` (see `endpoint`)."""
Listen = Annotated[str, BeforeValidator(_listen_text), _text("own IP address and port")]
Network = Annotated[str, BeforeValidator(_network_text), _text("IP address or network")]
HexBytes = Annotated[str, BeforeValidator(_hex_text), _text("bytes in hex")]
Registration = Annotated[str, BeforeValidator(_registration_text), _text("text or bytes in hex")]
Host = Annotated[str, BeforeValidator(_host_text), _text("IP address or host name")]
Ip = Annotated[str, BeforeValidator(_ip_text), _text("IP address")]
BrokerUrl = Annotated[str, BeforeValidator(_broker_text), WithJsonSchema({"type": "string", "pattern": "^mqtts?://"})]
WebUrl = Annotated[str, BeforeValidator(_web_text), WithJsonSchema({"type": "string", "pattern": "^https?://"})]
UnitAddress = Annotated[
    str,
    BeforeValidator(_hex_address),
    WithJsonSchema({"type": "string", "pattern": "^[0-9A-Fa-f]{2}( [0-9A-Fa-f]{2}){5}$"}),
]
"""The address of a transmission unit (GB/T 26875.3, six bytes)."""

SECRET_FORMS = "one of {file: PATH}, {credential: NAME}, {env: NAME}"  # noqa: S105 (it is the advice, not a secret)


class Strict(BaseModel):
    """Base of all models of the file: unknown keys are errors, nothing changes after loading.

    The validators are built on first use: a site without cameras never pays for theirs.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        validate_by_name=True,
        validate_by_alias=True,
        strict=True,
        defer_build=True,
        allow_inf_nan=False,
        protected_namespaces=(),
    )


class Secret(Strict):
    """Where a secret lies; never the secret itself. Exactly one of the three."""

    FORMS: ClassVar[tuple[Literal["file", "credential", "env"], ...]] = ("file", "credential", "env")

    file: FilePath | None = None
    credential: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.@-]{1,255}$")] | None = None
    env: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")] | None = None

    @model_validator(mode="before")
    @classmethod
    def _never_inline(cls, value: Any) -> Any:
        if not isinstance(value, dict | cls):
            raise ValueError(f"secrets are never written in the file: {SECRET_FORMS}")  # noqa: TRY004 (pydantic)
        return value

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if sum(getattr(self, form) is not None for form in self.FORMS) != 1:
            raise wrong("none or several of them", SECRET_FORMS)
        return self

    def place(self) -> SecretPlace:
        """From where it is read when it is needed."""
        return SecretPlace(None if self.file is None else Path(str(self.file)), self.credential, self.env)
