"""Tokens to writes: the verifier before the real site, and a thief with the broker's password."""

import json
from base64 import urlsafe_b64decode
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gateway.cloud.commands.claims import DEFAULT_ALLOW
from gateway.cloud.commands.verify import Key, Verifier
from gateway.model import Command, Instant, Refused
from tests.cloud.signing import CLOUD, NONCES, SOURCE, STRANGER, Known, Nonces, encoded, sign
from tests.site.compound import Compound

ALLOW = DEFAULT_ALLOW | {"zone.test"}
ARGS: dict[str, dict[str, Any]] = {
    "gate.open": {"gate": "south"},
    "zone.test": {"zone": "site", "for": "4h"},
    "read": {"device": "gauge"},
}


class SiteClock:
    """The time of the compound, as it goes on."""

    def __init__(self, site: Compound) -> None:
        self._site = site

    def now(self) -> Instant:
        return self._site.instant()


@dataclass
class Gatehouse:
    """A compound whose commands come as tokens."""

    site: Compound = field(default_factory=Compound)
    verifier: Verifier = field(init=False)

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        key = Key("cloud", CLOUD.public_key(), ALLOW)
        self.verifier = Verifier([key], SOURCE, SiteClock(self.site), Nonces(), Known())

    def token(self, jti: str, cmd: str = "gate.open", *, life: float = 60.0, begins: float = 0.0, **more: Any) -> bytes:
        wall = self.site.instant().wall + begins
        said = {
            "iss": "cloud", "sub": "li", "aud": SOURCE, "iat": wall, "exp": wall + life, "jti": jti, "cmd": cmd,
            "args": {"gate": "south"}, **more,
        }  # fmt: skip
        return sign({name: value for name, value in said.items() if value is not None})

    def send(self, token: bytes, *, retained: bool = False) -> Command | Refused:
        item = self.verifier.verify(token, retained=retained)
        self.site.feed(item)
        self.site.wait(0.1)
        return item

    def codes(self) -> list[str]:
        return [str(event.data["error"]["code"]) for event in self.site.told("command.refused")]  # type: ignore[index,call-overload]

    def pulses(self) -> int:
        return self.site.writes("board.do3").count(True)


def test_a_command_opens_once_and_its_repeat_gets_the_same_answer() -> None:
    it = Gatehouse()
    token = it.token("once")
    it.send(token)
    it.send(token)
    it.site.wait(5.0)
    it.send(token)
    assert it.pulses() == 1
    first, *others = [reply.data for reply in it.site.replies]
    assert first["ok"] is True
    assert others == [first, first]
    assert it.codes() == ["repeated", "repeated"]


@pytest.mark.parametrize("synced", [True, False])
def test_a_stolen_broker_password_opens_nothing(*, synced: bool) -> None:
    """What a thief can send who has read everything that ever went over the broker."""
    it = Gatehouse()
    it.site.synced = synced
    nonce = None if synced else NONCES[0]
    old = it.token("old", nonce=nonce)
    it.send(old)
    it.site.wait(400.0)
    opened = it.pulses()
    header, body, signature = it.token("new", nonce=nonce).split(b".")
    claims = json.loads(urlsafe_b64decode(body + b"=" * (-len(body) % 4)))
    forged = b".".join((header, encoded(json.dumps(claims | {"jti": "other"}).encode()), signature))
    it.verifier = Verifier(
        [Key("cloud", CLOUD.public_key(), DEFAULT_ALLOW)], SOURCE, SiteClock(it.site), Nonces(("x",)), Known()
    )
    for token in (old, forged, sign(claims, STRANGER), b"", b"gate.open"):
        it.send(token)
    it.send(sign(claims | {"jti": "kept"}), retained=True)
    it.site.wait(5.0)
    assert it.pulses() == opened == 1
    assert it.codes()[-1] == "retained"
    assert len(it.site.replies) == 3  # the first one, the old one again or expired, the retained one


def test_within_the_leeway_after_its_end() -> None:
    it = Gatehouse()
    it.send(it.token("late", begins=-70.0))
    assert it.pulses() == 1
    it.send(it.token("too late", begins=-95.0))
    assert it.pulses() == 1
    assert it.codes() == ["expired"]


@pytest.mark.parametrize("restart", [True, False])
def test_a_repeat_gets_the_first_reply_though_its_nonce_has_rotated(*, restart: bool) -> None:
    it = Gatehouse(Compound(synced=False))
    token = it.token("once", nonce=NONCES[0])
    it.send(token)
    it.site.wait(400.0)
    if restart:
        it.site.stop()
    it.begin()
    it.verifier = Verifier(
        [Key("cloud", CLOUD.public_key(), DEFAULT_ALLOW)], SOURCE, SiteClock(it.site), Nonces(("x",)), Known()
    )
    it.send(token)
    it.send(it.token("another", nonce=NONCES[0]))
    first, again, other = [reply.data for reply in it.site.replies]
    assert first["ok"] is True
    assert again == first
    assert other["error"]["code"] == "expired"  # type: ignore[index,call-overload]
    assert it.codes() == ["repeated", "expired"]
    assert it.pulses() == 1


@pytest.mark.parametrize("restart", [True, False])
@pytest.mark.parametrize(("seconds", "code"), [(200.0, "repeated"), (100_000.0, "expired")])
@pytest.mark.parametrize("cmd", ["gate.open", "zone.test", "read"])
def test_a_clock_that_is_set_back_brings_nothing_to_life(cmd: str, seconds: float, code: str, *, restart: bool) -> None:
    """Also not after the day for which the site remembers it, and not over a restart: time can be forged too."""
    it = Gatehouse()
    token = it.token("once", cmd, args=ARGS[cmd])
    it.send(token)
    it.site.wait(seconds)
    if restart:
        it.site.stop()
        it.begin()
    it.site.shift -= seconds - 10.0
    done = len(it.site.told("command.done")), it.pulses(), len(it.site.performs)
    it.send(token)
    it.site.wait(5.0)
    assert (len(it.site.told("command.done")), it.pulses(), len(it.site.performs)) == done
    assert it.codes() == (["repeated"] if cmd != "read" and code == "repeated" else ["expired"])
    it.site.shift += seconds - 10.0
    it.send(it.token("next"))
    assert it.site.told("command.done")[-1].data["jti"] == "next"


@pytest.mark.parametrize("restart", [True, False])
def test_a_clock_that_runs_ahead_for_two_days_and_back_brings_nothing_to_life(*, restart: bool) -> None:
    it = Gatehouse()
    token = it.token("once", "zone.test", args=ARGS["zone.test"])
    it.send(token)
    it.site.shift += 10 * 365 * 86_400.0
    it.site.wait(2 * 86_400.0)
    if restart:
        it.site.stop()
        it.begin()
    it.site.shift = -it.site.now
    it.send(token)
    it.site.burn("smoke-1", "smoke-2")
    assert it.site.on("board.do2"), "the zone is under no test: two fires hold the gate"
    assert it.codes() == ["expired"]


def test_a_nonce_shows_that_it_is_no_repeat_whatever_the_clocks_say() -> None:
    """A sender whose clock ran two days ahead sent with a nonce, while ours was not set: others are not locked out."""
    it = Gatehouse(Compound(synced=False))
    it.send(it.token("ahead", begins=2 * 86_400.0, nonce=NONCES[0]))
    it.site.wait(86_400.0 + 60.0)
    it.send(it.token("right", nonce=NONCES[0]))
    it.site.wait(5.0)
    assert it.pulses() == 2


class Thief(RuleBasedStateMachine):
    """Good commands, everything sent before again, time, restarts, steps of the clock: each jti runs once at most."""

    @initialize()
    def begin(self) -> None:
        self.it = Gatehouse()
        self.sent: list[bytes] = []
        self.done: set[str] = set()

    @rule(
        cmd=st.sampled_from(("gate.open", "zone.test", "read")),
        life=st.sampled_from((1.0, 60.0, 120.0)),
        begins=st.sampled_from((-140.0, -20.0, 0.0, 20.0, 50.0)),
        nonce=st.sampled_from((NONCES[0], None)),
    )
    def command(self, cmd: str, life: float, begins: float, nonce: str | None) -> None:
        jti = f"j{len(self.sent)}"
        token = self.it.token(jti, cmd, life=life, begins=begins, nonce=nonce, args=ARGS[cmd])
        self.sent.append(token)
        # Pulses within a second of each other join, so that each opening is a pulse of its own.
        self.it.site.wait(3.0)
        self.send(token)

    def send(self, token: bytes) -> None:
        """The nonces of the verifier stand for those of this minute: those of recorded tokens are over."""
        self.it.send(token)
        self.it.site.wait(3.0)

    @rule(which=st.integers(0, 50))
    def again(self, which: int) -> None:
        if self.sent:
            token = self.sent[which % len(self.sent)]
            self.it.verifier = replaced(self.it, ("other", "another"))
            self.send(token)
            self.it.begin()

    @rule(which=st.integers(0, 50), at=st.integers(0, 10_000), bit=st.integers(0, 7))
    def altered(self, which: int, at: int, bit: int) -> None:
        if self.sent:
            token = bytearray(self.sent[which % len(self.sent)])
            token[at % len(token)] ^= 1 << bit
            assert isinstance(self.it.send(bytes(token)), Refused)

    @rule(seconds=st.sampled_from((1.0, 31.0, 100.0, 4000.0, 90_000.0)))
    def wait(self, seconds: float) -> None:
        self.it.site.wait(seconds)

    @rule(seconds=st.sampled_from((-3e8, -90_000.0, -3600.0, -150.0, -40.0, 40.0, 3600.0, 3e8)))
    def clock_is_set(self, seconds: float) -> None:
        self.it.site.shift += seconds

    @rule(synced=st.booleans())
    def clock_is_trusted(self, *, synced: bool) -> None:
        self.it.site.synced = synced

    @rule()
    def stopped_and_started(self) -> None:
        self.it.site.stop()
        self.it.begin()

    @rule(which=st.integers(0, 50))
    def killed_at_once(self, which: int) -> None:
        """Between a command and its repeat, while it is still good: the site's memory is durable."""
        if self.sent:
            self.it.site.crash(lose=False)
            self.again(which)

    @invariant()
    def each_runs_once(self) -> None:
        if hasattr(self, "it"):
            self.it.site.wait(3.0)
            done = [event.data["jti"] for event in self.it.site.told("command.done")]
            assert len(done) == len(set(done))
            assert self.it.pulses() <= len(self.sent)
            asked = [perform.order for perform in self.it.site.performs]
            assert len(asked) <= len(self.sent)


def replaced(it: Gatehouse, nonces: tuple[str, ...]) -> Verifier:
    """As minutes later: other nonces are good."""
    key = Key("cloud", CLOUD.public_key(), ALLOW)
    return Verifier([key], SOURCE, SiteClock(it.site), Nonces(nonces), Known())


TestThief = Thief.TestCase
TestThief.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
