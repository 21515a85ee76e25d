"""Who asks for something, and the answers they can get."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from gateway.model import Emit, Instant, Json, Stream
from gateway.site.gate import COMMAND


class Done(NamedTuple):
    """It was carried out."""

    result: Json = None


class No(NamedTuple):
    """It was not carried out, for a reason with a code of the contract."""

    code: str
    message: str


class Later(NamedTuple):
    """The answer depends on a device. `within`: seconds until the answer `silent`; None: an answer always comes."""

    within: float | None = None


Answer = Done | No | Later


@dataclass(frozen=True, slots=True)
class Asker:
    """Somebody who asks. `token` identifies the request within this process."""

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
        """The name of the asker's cause of holding a gate, as in the events."""
        return "page" if self.on_site else COMMAND

    @property
    def key(self) -> str:
        """Identifies the asker's own cause of holding a gate: one command key cannot remove the cause of another."""
        return self.cause if self.on_site else f"{COMMAND}/{self.kid}"

    def may(self, what: str) -> bool:
        """True if the asker has this grant (`fire.reset`, `fire.release`): people on site do, a key must list it."""
        return self.on_site or what in self.allow


def reply(jti: str, cmd: str, answer: Done | No) -> Mapping[str, Json]:
    """Data of `command.reply`."""
    if isinstance(answer, Done):
        return {"jti": jti, "cmd": cmd, "ok": True, "result": answer.result}
    return {"jti": jti, "cmd": cmd, "ok": False, "error": {"code": answer.code, "message": answer.message}}


def viewed(id_: str, what: str, asker: Asker, now: Instant, passage: Json = None, picture: Json = None) -> Emit:
    """The event that somebody looks at personal data: a plate, a picture, the cars inside."""
    data: dict[str, Json] = {
        "by": asker.by, "role": asker.role, "what": what, "passage": passage, "picture": picture,
    }  # fmt: skip
    return Emit(Stream.AUDIT, "person.viewed", None, data, id_, now)
