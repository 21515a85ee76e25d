"""Diagnoses the wiring of a line from its bytes: named faults, with what to do about each. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from gateway.local.trace import EXCEPTIONS, NOBODY, TracedExchange, answers, question

Level = Literal["good", "doubt", "wrong"]

LOADS = 32
"""Unit loads that an RS-485 driver must be able to drive (TIA-485-A)."""
_CLEAN_SHARE = 0.1
"""A unit counts as clean up to this share of damaged answers."""
_OFTEN_SHARE = 0.2
_FEW = 2
_SHOWN_BYTES = 24
"""How many bytes of unknown data are shown."""
_LONG_BYTES = 16
"""An answer counts as long from this length on."""


@dataclass(frozen=True, slots=True)
class Sign:
    """One finding: subject, observation, what to do."""

    about: str
    level: Level
    what: str
    todo: str = ""
    of_all: bool = False
    """It concerns every device of the line: none can be reached."""


@dataclass(slots=True)
class UnitTally:
    """Results of the requests to one unit."""

    asked: int = 0
    answered: int = 0
    garbled: int = 0
    nothing: int = 0
    glitched: int = 0

    @property
    def damaged(self) -> float:
        """The share of damaged answers."""
        came = self.answered + self.garbled
        return self.garbled / came if came else 0.0


def diagnose(line: str, devices: Mapping[int, str], talk: Sequence[TracedExchange], *, bus: bool = True) -> list[Sign]:
    """What is wrong with a line. `devices`: unit -> name; `talk`: recent exchanges; `bus`: RTU frames."""
    about = f"line {line}"
    talk = [one for one in talk if not (one.aside and (one.unit not in devices or one.verdict == "exception"))]
    tallies = count(talk)
    signs = [*_echo(about, talk)]
    if not talk:
        return [*signs, Sign(about, "doubt", "nothing was asked yet", "wait a minute, then ask again")]
    if not any(tally.answered for tally in tallies.values()):
        return [*signs, _nobody(about, talk) if bus else _nobody_on_tcp(about, talk)]
    if bus:
        faults = _on_a_bus(about, devices, talk, tallies)
    else:
        faults = [
            *_one_by_one(about, devices, tallies),
            *_strange(about, talk),
            *_refusals(about, devices, talk),
        ]
    if not faults:
        heard = sum(tally.answered for tally in tallies.values())
        signs.append(Sign(about, "good", f"{len(tallies)} devices answer; {heard} answers, none damaged"))
    return [*signs, *faults]


def oddities(line: str, odd: Mapping[str, object] | None) -> list[Sign]:
    """Irregularities that the driver tolerated since it started (see the health of a line)."""
    about, odd = f"line {line}", odd or {}
    signs = []
    if odd.get("identity"):
        what = f"its answers are not named as the standard has it: {odd['identity']}"
        signs.append(Sign(about, "doubt", what, "it works; do not write `strict: true` on this line"))
    if odd.get("confused"):
        what = f"{odd['unpaired']} frames belonged to no question of ours: {odd['confused']}"
        todo = "one master on a bus; a serial server must hand on each answer once, to who asked, and keep none"
        signs.append(Sign(about, "wrong", what, todo))
    elif odd.get("unpaired") or odd.get("unproved"):
        what = f"{odd['unpaired']} frames since the start belonged to no question of ours; none for a minute"
        signs.append(Sign(about, "doubt", what, "see its frames (site-gateway watch), and who else asks on it"))
    if odd.get("floods"):
        what = f"it was closed {odd['floods']} times because it floods with what nobody asked for"
        signs.append(Sign(about, "wrong", what, "see what stands at this address; nothing but Modbus belongs there"))
    return signs


def _nobody_on_tcp(about: str, talk: Sequence[TracedExchange]) -> Sign:
    came = b"".join(one.strange for one in talk)
    if not came:
        what = "the connection is taken, and not a byte comes back"
        return Sign(about, "wrong", what, "check the unit ids, and that no other master holds the device's connections")
    said, todo = described(came)
    return Sign(about, "wrong", f"{len(came)} bytes come back, and no answer: {said}", todo)


def _strange(about: str, talk: Sequence[TracedExchange]) -> Iterator[Sign]:
    """Findings about bytes outside of answers."""
    came = b"".join(one.strange for one in talk)
    times = sum(bool(one.strange) for one in talk)
    if times >= _FEW:
        said, todo = described(came)
        yield Sign(
            about, "doubt", f"{len(came)} bytes that are no answer, at {times} of {len(talk)} requests: {said}", todo
        )


def described(came: bytes) -> tuple[str, str]:
    """What bytes are if not Modbus TCP, and what to do about it."""
    shown = f"{came[:_SHOWN_BYTES].hex(' ')}{' …' if len(came) > _SHOWN_BYTES else ''}"
    text = came[:_SHOWN_BYTES].decode("ascii", "replace")
    if text.isprintable() or text.split("\r\n", 1)[0].isprintable():
        shown = f"{shown} ({text.splitlines()[0]!r})"
    if b"HTTP/" in came[:200] or b"<html" in came[:400].lower():
        return f"a web server ({shown})", "another port of the device: Modbus TCP is port 502 as a rule"
    if came[:2] in (b"\x15\x03", b"\x16\x03"):
        return f"TLS ({shown})", "another port: Modbus over TLS (802) is not spoken here"
    if any(True for _ in answers(came)):
        return f"RTU frames ({shown})", "`framing: rtu` on this line"
    return shown, "set the device's or converter's mode to Modbus TCP, switch off its banner and heart-beat"


def _on_a_bus(
    about: str, devices: Mapping[int, str], talk: Sequence[TracedExchange], tallies: Mapping[int, UnitTally]
) -> list[Sign]:
    return [
        *_one_by_one(about, devices, tallies),
        *_noise(about, talk, tallies),
        *_glitches(about, tallies),
        *_refusals(about, devices, talk),
        *_late(about, devices, talk),
    ]


def count(talk: Sequence[TracedExchange]) -> dict[int, UnitTally]:
    """The tally of each unit. A refusal counts as an answer, unless a converter gives it for a missing device."""
    tallies: dict[int, UnitTally] = {}
    for one in talk:
        tally = tallies.setdefault(one.unit, UnitTally())
        tally.asked += 1
        code = one.answer.exception if one.answer is not None else None
        if one.answer is not None and code not in NOBODY:
            tally.answered += 1
            tally.glitched += bool(one.glitch)
        elif one.verdict == "garbled":
            tally.garbled += 1
        else:
            tally.nothing += 1
    return tallies


def _echo(about: str, talk: Sequence[TracedExchange]) -> Iterator[Sign]:
    echoes = sum(one.echoed for one in talk)
    if echoes >= _FEW:
        yield Sign(
            about,
            "doubt",
            f"the adapter sends back what is sent to it (echo, {echoes} times)",
            "switch the echo off at the adapter; until then it is recognised and passed over",
        )


def _nobody(about: str, talk: Sequence[TracedExchange]) -> Sign:
    noise = b"".join(one.received.replace(one.request, b"") for one in talk)
    if not noise:
        return Sign(
            about,
            "wrong",
            "no device answers, and not a byte comes back",
            "check the devices' supply, that A and B lead to this port, and the baud rate (site-gateway scan)",
            of_all=True,
        )
    if is_inverted(noise):
        return Sign(
            about,
            "wrong",
            f"{len(noise)} bytes come back, inverted or all 00 and ff: A and B are swapped",
            "swap the two wires at the adapter",
            of_all=True,
        )
    return Sign(
        about,
        "wrong",
        f"{len(noise)} bytes come back, but no answer is whole: another baud rate or parity, or A and B swapped",
        "run site-gateway scan on this port; then swap A and B and run it again",
        of_all=True,
    )


def is_inverted(noise: bytes) -> bool:
    """True for the bytes that swapped wires cause: breaks, idle ones, inverted frames."""
    if sum(byte in (0x00, 0xFF) for byte in noise) * 2 > len(noise):
        return True
    return any(True for _ in answers(bytes(byte ^ 0xFF for byte in noise)))


def _one_by_one(about: str, devices: Mapping[int, str], tallies: Mapping[int, UnitTally]) -> Iterator[Sign]:
    clean = [unit for unit, tally in tallies.items() if tally.answered and tally.damaged <= _CLEAN_SHARE]
    for unit, tally in tallies.items():
        name = f"{devices.get(unit, '?')} (unit {unit})"
        others = [one for one in clean if one != unit]
        if tally.garbled >= _FEW and tally.damaged > _OFTEN_SHARE and others:
            yield Sign(
                about,
                "wrong",
                f"{name}: {tally.garbled} of {tally.asked} answers damaged, while others are clean: two devices have "
                f"the unit id {unit}, or its branch is bad",
                "take this device off: if another one still answers, give it an id of its own; else look at its wires",
            )
        elif not tally.answered and not tally.garbled:
            yield Sign(
                about,
                "wrong",
                f"{name} does not answer",
                "check its supply, its unit id and baud rate (site-gateway scan), and its branch of the bus",
            )


def _noise(about: str, talk: Sequence[TracedExchange], tallies: Mapping[int, UnitTally]) -> Iterator[Sign]:
    """Findings about damage that does not come from one unit."""
    hit = [unit for unit, tally in tallies.items() if tally.garbled]
    came = sum(tally.answered + tally.garbled for tally in tallies.values())
    garbled = sum(tallies[unit].garbled for unit in hit)
    single = len(hit) == 1 and tallies[hit[0]].damaged > _OFTEN_SHARE and len(tallies) > 1
    if garbled < _FEW or single:
        return
    short, long = _damaged(talk, long=False), _damaged(talk, long=True)
    grows = long > 2 * short and long > _CLEAN_SHARE
    text = f"{garbled} of {came} answers damaged (CRC), of {len(hit)} devices"
    if grows:
        yield Sign(
            about,
            "wrong",
            f"{text}, the long ones most ({long:.0%} against {short:.0%}): reflections, no termination",
            "120 ohm between A and B at both ends of the bus, nowhere else; no star, short branches",
        )
    else:
        yield Sign(
            about,
            "wrong",
            f"{text}: noise on the bus",
            "connect the screen at one end and the common wire; lead the bus away from mains and motors; see that "
            "both ends have 120 ohm",
        )


def _damaged(talk: Sequence[TracedExchange], *, long: bool) -> float:
    came = Counter(one.verdict for one in talk if _is_long(one) is long and one.verdict != "nothing")
    total = sum(came.values())
    return came["garbled"] / total if total else 0.0


def _is_long(one: TracedExchange) -> bool:
    words = int.from_bytes(one.pdu[3:5], "big") if one.pdu[0] in (3, 4) else 0
    return 5 + 2 * words >= _LONG_BYTES


def _glitches(about: str, tallies: Mapping[int, UnitTally]) -> Iterator[Sign]:
    glitched, answered = (sum(getattr(tally, key) for tally in tallies.values()) for key in ("glitched", "answered"))
    if glitched >= _FEW and glitched > _OFTEN_SHARE * answered:
        yield Sign(
            about,
            "doubt",
            f"noise before {glitched} of {answered} good answers: the bus floats while nobody drives it (no bias)",
            "bias resistors (A to +5 V, B to ground, 560 ohm each) at one place, or an adapter that has them; "
            "120 ohm at both ends",
        )


def _refusals(about: str, devices: Mapping[int, str], talk: Sequence[TracedExchange]) -> Iterator[Sign]:
    seen: set[tuple[int, bytes]] = set()
    for one in talk:
        code = one.answer.exception if one.answer is not None else None
        if code in (1, 2, 3) and (one.unit, one.pdu) not in seen:
            seen.add((one.unit, one.pdu))
            yield Sign(
                about,
                "doubt",
                f"{devices.get(one.unit, '?')} (unit {one.unit}) refuses '{question(one.pdu)}': exception {code}, "
                f"{EXCEPTIONS[code]}",
                "compare the profile with the device's manual",
            )


def _late(about: str, devices: Mapping[int, str], talk: Sequence[TracedExchange]) -> Iterator[Sign]:
    late = Counter(frame.unit for one in talk for frame in one.stray)
    for unit, times in late.items():
        if times >= _FEW:
            yield Sign(
                about,
                "doubt",
                f"{devices.get(unit, '?')} (unit {unit}) answers later than its time-out ({times} times)",
                "give it a longer `limits: {timeout: …}`",
            )
