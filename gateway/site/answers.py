"""What may be said to somebody who asks for something."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from gateway.model import Emit, Instant, Json, Stream
from gateway.site.gate import COMMAND


class Done(NamedTuple):
    """It was carried out."""

    result: Json = None


class No(NamedTuple):
    """It was not, with a code of the contract."""

    code: str
    message: str


class Later(NamedTuple):
    """It depends on a device. `within`: seconds after which the one who asks is told `silent`; None: it will come."""

    within: float | None = None


Answer = Done | No | Later


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks. `token` names the request in this process."""

    token: str
    by: str
    on_site: bool
    """A person at the page or the control socket."""
    allow: frozenset[str] = frozenset()
    """What the key of a command may ask for."""
    expires: float | None = None
    """Monotonic seconds at which the command dies."""
    role: str | None = None
    """Of a person on site."""
    kid: str = ""
    """The key of a command."""

    @property
    def cause(self) -> str:
        """What the events call its own cause of holding a gate."""
        return "page" if self.on_site else COMMAND

    @property
    def key(self) -> str:
        """Its own cause of holding a gate: one key of the site takes away nothing of another's."""
        return self.cause if self.on_site else f"{COMMAND}/{self.kid}"

    def may(self, what: str) -> bool:
        """People on site may end a fire's consequences; from afar a key must name it (`fire.reset`, `fire.release`)."""
        return self.on_site or what in self.allow


def reply(jti: str, cmd: str, answer: Done | No) -> Mapping[str, Json]:
    """Data of `command.reply`."""
    if isinstance(answer, Done):
        return {"jti": jti, "cmd": cmd, "ok": True, "result": answer.result}
    return {"jti": jti, "cmd": cmd, "ok": False, "error": {"code": answer.code, "message": answer.message}}


def viewed(id_: str, what: str, asker: Asker, now: Instant, passage: Json = None, picture: Json = None) -> Emit:
    """The event that somebody looks at what tells of persons: a plate, a picture, who is inside."""
    data: dict[str, Json] = {
        "by": asker.by, "role": asker.role, "what": what, "passage": passage, "picture": picture,
    }  # fmt: skip
    return Emit(Stream.AUDIT, "person.viewed", None, data, id_, now)
