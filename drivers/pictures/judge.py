"""Judges a camera's picture by its measurements. Pure.

The order of checks matters: first those without a reference, then causes that would look like others later on.
"""

from dataclasses import asdict, dataclass
from typing import Literal

Light = Literal["colour", "infrared"]
Outcome = Literal["normal", "abnormal", "not-checkable"]

SMALLEST = 320, 180
"""The smallest size in pixels; a smaller picture is a thumbnail."""
FROZEN_SHARE = 0.6
"""Two pictures with at least this share of identical blocks are the same; live ones have 0.12 at most."""
STRUCTURE_SHARE = 0.08
"""A reference needs non-repeating structure in at least this share of its tiles."""
OWN_AGREEMENT = 0.3
"""The least agreement with the approved reference for a picture of the other light to become a reference."""
AGAIN = frozenset({"covered", "glare", "blurred"})
"""Reasons that may end by themselves within seconds."""
_OWN_SHARPNESS_PERCENT = 75.0
"""Across lights a good picture has at least 90 %. A soft one may be judged but not become a reference."""
_MOVED_SHARE = 0.02
"""Share of the frame; a pole in the wind moves less."""
_DEAD_SHARE = 0.08, 0.9
_WHITE_SHARE = 0.03
_HOLE_SHARE = 0.12
_EMPTY_SHARE = 0.18


@dataclass(frozen=True, slots=True)
class PictureLimits:
    """Limits of the site file. Grey values 0-255, percent of the reference's sharpness, share of its structure."""

    dark_below: float = 30.0
    bright_above: float = 220.0
    flat_below: float = 10.0
    blur_below: float = 65.0
    max_drift: float = 0.5
    written: frozenset[str] = frozenset()
    """The limits named in the file."""

    @property
    def needs_reference(self) -> bool:
        """True if the file names a limit that needs a reference."""
        return bool(self.written & {"blur_below", "max_drift"})


@dataclass(frozen=True, slots=True)
class Figures:
    """The measurements of one picture."""

    width: int
    height: int
    light: Light
    mean: float
    """Grey values 0-255."""
    spread: float
    """Standard deviation of grey."""
    white: float
    """Share of overexposed pixels."""
    dead: float
    """Share of the height, from the bottom, that is grey or smeared."""
    sharpness: float | None
    """Steepest step divided by range; None: it has too little structure."""
    structured: float
    """Share of the tiles with non-repeating structure."""


@dataclass(frozen=True, slots=True)
class Displacement:
    """The displacement with the best match to the reference, in shares of the frame, and how good it is."""

    dx: float
    dy: float
    peak: float
    zero: float
    """The best match within 2 %, that is, at the expected place."""

    @property
    def far(self) -> float:
        """The distance in shares of the frame."""
        return max(abs(self.dx), abs(self.dy))

    @property
    def is_moved(self) -> bool:
        """True if it matches clearly better at another place."""
        return self.far > _MOVED_SHARE and self.peak >= 0.3 and self.peak > self.zero + 0.1


@dataclass(frozen=True, slots=True)
class Compared:
    """A picture compared with a reference."""

    displacement: Displacement
    lost: float
    """Share of the reference's structure that is missing at its place."""
    empty: float
    """Share of it with no structure at all in its place."""
    patch: float
    """The largest connected patch of lost tiles, as a share of the frame."""
    hole: float
    """As `patch`, for empty tiles."""
    gradient: float
    """The amount of structure of any kind, relative to the reference."""
    contrast: float
    """The 80th percentile of the tiles' contrast, relative to the reference."""
    agreement: float
    """The 25th percentile of the tiles' correlation."""
    coarse: float
    """How well both agree at low resolution."""


@dataclass(frozen=True, slots=True)
class PictureVerdict:
    """The verdict; `reason` and `detail` (text) are None for a good picture."""

    outcome: Outcome
    reason: str | None = None
    detail: str | None = None


GOOD = PictureVerdict("normal")


def judge(
    mine: Figures,
    limits: PictureLimits,
    reference: Figures | None = None,
    compared: Compared | None = None,
    *,
    alike: float | None = None,
) -> PictureVerdict:
    """Judge a picture. `reference` of the same light, `compared` with it; `alike`: share equal to an earlier one."""
    found = _alone(mine, limits)
    if found is None and alike is not None and alike >= FROZEN_SHARE:
        found = _bad("frozen", f"{alike:.0%} of it is exactly as before")
    if found is None:
        if reference is None or compared is None:
            found = _unsure("no-reference", "no reference of this light") if limits.needs_reference else GOOD
        elif reference.structured < STRUCTURE_SHARE:
            found = _unsure("weak-reference", f"the reference has structure in {reference.structured:.0%} of its tiles")
        else:
            found = _against(mine, limits, reference, compared) or GOOD
    return found


def may_be_reference(mine: Figures, limits: PictureLimits) -> str | None:
    """Why a picture cannot be a reference, with figures; None: it can be one."""
    found = _alone(mine, limits)
    if found is not None:
        return f"{found.reason}: {found.detail}"
    if mine.structured < STRUCTURE_SHARE:
        return (
            f"structure in {mine.structured:.0%} of its tiles, {STRUCTURE_SHARE:.0%} are needed: nothing to compare by"
        )
    if mine.sharpness is None:
        return "nothing in it is sharp enough to tell by"
    return None


def lies_on(mine: Figures, approved: Figures, compared: Compared) -> bool:
    """True if a picture of the other light completely shows the place of the approved reference, and as sharply."""
    place = compared.displacement
    sharpness = sharpness_of(mine, approved)
    is_whole = compared.lost <= 0.3 and compared.empty <= 0.1 and compared.hole <= 0.12
    is_there = not place.is_moved and place.far <= _MOVED_SHARE and place.zero >= OWN_AGREEMENT
    return is_there and is_whole and sharpness is not None and sharpness >= _OWN_SHARPNESS_PERCENT


def sharpness_of(mine: Figures, reference: Figures) -> float | None:
    """The sharpness in percent of the reference's; None: the reference has none."""
    return None if reference.sharpness is None else 100 * (mine.sharpness or 0.0) / reference.sharpness


def figures_of(mine: Figures, reference: Figures | None, compared: Compared | None) -> dict[str, float | str]:
    """The rounded measurements by name, for the evidence."""
    told: dict[str, float | str] = {"light": mine.light, "width": mine.width, "height": mine.height}
    told |= {name: round(getattr(mine, name), 3) for name in ("mean", "spread", "white", "dead")}
    if reference is not None and compared is not None:
        sharpness = sharpness_of(mine, reference)
        if sharpness is not None and mine.light == reference.light:
            told["sharpness"] = round(sharpness, 1)
        flat = asdict(compared)
        told |= {name: round(value, 3) for name, value in flat.pop("displacement").items()}
        told |= {name: round(value, 3) for name, value in flat.items()}
    return told


def _alone(mine: Figures, limits: PictureLimits) -> PictureVerdict | None:
    found = None
    if mine.width < SMALLEST[0] or mine.height < SMALLEST[1]:
        found = _bad("small", f"{mine.width} x {mine.height}")
    elif mine.mean < limits.dark_below:
        found = _bad("dark", f"mean grey {mine.mean:.0f}, below {limits.dark_below:g}")
    elif mine.mean > limits.bright_above:
        found = _bad("bright", f"mean grey {mine.mean:.0f}, above {limits.bright_above:g}")
    elif _DEAD_SHARE[0] < mine.dead < _DEAD_SHARE[1]:
        found = _bad("damaged", f"the lower {mine.dead:.0%} of it are not there")
    elif mine.spread < limits.flat_below or mine.dead >= _DEAD_SHARE[1]:
        found = _bad("flat", f"grey spreads by {mine.spread:.1f}, below {limits.flat_below:g}, or nothing is in it")
    return found


def _against(mine: Figures, limits: PictureLimits, reference: Figures, found: Compared) -> PictureVerdict | None:
    place = found.displacement
    sharpness = sharpness_of(mine, reference)
    # A darker picture is not foggier, so the contrast is compared after removing the effect of exposure.
    veil = found.contrast * reference.mean / max(1.0, mine.mean)
    is_veiled = (found.lost > 0.3 and found.contrast < 0.5) or veil < 0.42
    verdict = None
    if place.is_moved:
        verdict = _bad("moved", f"by {place.dx:+.0%} across, {place.dy:+.0%} down")
    elif sharpness is not None and sharpness < limits.blur_below and found.coarse >= 0.5:
        verdict = _bad("blurred", f"sharpness {sharpness:.0f} % of the reference's, below {limits.blur_below:g} %")
    elif mine.light == "infrared" and mine.white > _WHITE_SHARE and place.zero >= 0.25:
        verdict = _unsure("glare", f"{mine.white:.0%} of it is burnt out")
    elif found.agreement > 0.11 and found.hole < _HOLE_SHARE and is_veiled:
        verdict = _unsure("poor-sight", f"{min(veil, found.contrast):.0%} of the reference's contrast")
    elif found.hole > _HOLE_SHARE or found.empty > _EMPTY_SHARE:
        verdict = _bad("covered", f"{max(found.hole, found.empty):.0%} of it is hidden")
    elif found.lost > limits.max_drift and place.zero < 0.25:
        is_elsewhere = found.gradient > 0.45  # as much structure as before, but different
        verdict = _bad("moved" if is_elsewhere else "covered", f"{found.lost:.0%} of the reference is not there")
    elif found.lost > limits.max_drift or found.patch > 0.5:
        verdict = _unsure("changed", f"{found.lost:.0%} of the reference looks another way, at the same place")
    return verdict


def _bad(reason: str, detail: str) -> PictureVerdict:
    return PictureVerdict("abnormal", reason, detail)


def _unsure(reason: str, detail: str) -> PictureVerdict:
    return PictureVerdict("not-checkable", reason, detail)
