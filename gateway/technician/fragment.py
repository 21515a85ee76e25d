"""Makes a piece of a site file from the units found. Pure."""

from collections.abc import Mapping, Sequence

from gateway.technician.profile_match import Guess
from gateway.technician.scan import Found
from gateway.technician.scan_line import Setting, Target

_PLAIN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-"
_CLOSE_SCORE = 1.0
"""A guess within this distance of the best one is also named."""


def fragment(target: Target, found: Sequence[Found], guesses: Mapping[tuple[int, Setting], Sequence[Guess]]) -> str:
    """YAML with `lines` and `devices`; a line for each setting with an answer."""
    if not found:
        return "# Nobody answered.\n"
    settings = list(dict.fromkeys(one.setting for one in found))
    names = {setting: "bus" if len(settings) == 1 else f"bus-{place}" for place, setting in enumerate(settings, 1)}
    lines = ["lines:"]
    if len(settings) > 1:
        lines.append("  # One port cannot be two lines: give all devices the same setting, then keep one of these.")
    lines += [f"  {names[setting]}: {_flow(target.line(setting))}" for setting in settings]
    lines.append("devices:")
    for one in sorted(found, key=lambda one: (names[one.setting], one.unit)):
        name = f"unit-{one.unit}" if len(settings) == 1 else f"unit-{one.unit}-{names[one.setting]}"
        lines += _device(name, names[one.setting], one, guesses.get((one.unit, one.setting)))
    return "\n".join(lines) + "\n"


def _device(name: str, line: str, found: Found, guesses: Sequence[Guess] | None) -> list[str]:
    answers = f"  # unit {found.unit} answers in {found.seconds * 1000:.0f} ms"
    if guesses:
        best = guesses[0]
        close = [guess.profile for guess in guesses[1:] if guess.score > best.score - _CLOSE_SCORE]
        also = f"; as well: {', '.join(close)}" if close else ""
        return [
            f"{answers}; guessed: {best.title}{also}",
            f"  {name}: {{profile: {best.profile}, line: {line}, unit: {found.unit}}}",
        ]
    points = ", ".join(f"{table}-0: {{at: {table} 0}}" for table in found.words)
    body = f", points: {{{points}}}" if points else ""
    why = "profiles were not tried" if guesses is None else "no profile fits"
    return [
        f"{answers}; {why}: write its points after the maker's manual",
        f"  {name}: {{line: {line}, unit: {found.unit}{body}}}",
    ]


def _flow(mapping: Mapping[str, object]) -> str:
    return "{" + ", ".join(f"{key}: {_scalar(value)}" for key, value in mapping.items()) + "}"


def _scalar(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_scalar, value))}]"
    text = str(value)
    if isinstance(value, int) or (all(char in _PLAIN for char in text) and not text.isdecimal()):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
