"""What is decided about plates, and the HTTP listeners."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from gateway.config.units import FilePath, Id, Listen, Many, Period, Secret, Size, Strict, endpoint, is_loopback, wrong
from gateway.kinds import Role

Verdict = Literal["deny", "open"]


class InOut(Strict):
    """A rule for each direction."""

    in_: Verdict = Field("deny", alias="in")
    out: Verdict = "open"


def _both(value: Any) -> Any:
    """One word means both directions."""
    if isinstance(value, str):
        if value not in ("deny", "open"):
            raise ValueError("deny | open, or {in: deny, out: open}")
        return {"in": value, "out": value}
    return value


_RULE = {"enum": ["deny", "open"]}
Rule = Annotated[
    InOut,
    BeforeValidator(_both),
    WithJsonSchema(
        {"anyOf": [_RULE, {"type": "object", "properties": {"in": _RULE, "out": _RULE}, "additionalProperties": False}]}
    ),
]
_SPECIAL: dict[str, Verdict] = {"emergency": "open", "police": "open", "military": "open"}
_CLOSED = InOut.model_construct(in_="deny", out="open")


class AccessEntry(Strict):
    """How a passage is decided."""

    min_confidence: float = Field(80, ge=0, le=100)
    dedup: Period = 10.0
    unknown: Rule = _CLOSED
    no_plate: Rule = _CLOSED
    blocked: Rule = _CLOSED
    special: dict[Id, Verdict] = Field(default_factory=lambda: dict(_SPECIAL))
    pictures: Literal["plate", "scene", "none"] = "plate"
    lists: Many[FilePath] = ()
    """CSV files; a list is named by its file's stem."""

    @model_validator(mode="after")
    def _names(self) -> Self:
        stems = [Path(path).stem for path in self.lists]
        for stem in stems:
            if stems.count(stem) > 1:
                raise wrong(f"found two lists named {stem!r}", "files with different names", "lists")
        return self


class CameraListener(Strict):
    """Where cameras push to."""

    listen: Listen
    max_body: Size = Field(4 << 20, ge=64 << 10, le=64 << 20)


class PageTls(Strict):
    """Certificate and key of the status page."""

    cert: FilePath
    key: FilePath


class UserEntry(Strict):
    """Who may log in on the page."""

    role: Role
    password: Secret


class StatusPage(Strict):
    """The local page. Off loopback without TLS it is read-only."""

    listen: Listen = "127.0.0.1:8081"
    tls: PageTls | None = None
    users: dict[Id, UserEntry] = Field(default_factory=dict)

    @property
    def read_only(self) -> bool:
        """True if nobody can log in over this listener."""
        return self.tls is None and not is_loopback(endpoint(self.listen).host)


class Http(Strict):
    """The HTTP listeners; each only if written."""

    cameras: CameraListener | None = None
    status: StatusPage | None = None
