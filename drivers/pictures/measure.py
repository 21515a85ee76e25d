"""Measures a camera's picture, alone and against a reference of the same place. Uses Pillow; judges nothing.

mine = Sight.of(jpeg)                  # 2-5 ms at 1080p, and the same for its figures
found = compare(mine, reference)       # 3 ms; 15 ms if other displacements have to be searched
alike(jpeg, another)                   # 10-20 ms: whether both show the same moment

Pictures are decoded at 480 x 270, and compared at 240 x 135 and in 16 x 9 tiles. Structure is compared: the gradient
divided by its magnitude, which removes exposure and shade. Slow: run it in a thread.
"""

import math
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any

from PIL import Image, ImageChops, ImageMath

from drivers.pictures.jpeg import opened
from drivers.pictures.judge import Compared, Displacement, Figures, Light

_WIDE, _HIGH = 480, 270
_SMALL = 240, 135
_TILES = 16, 9
_EDGE = 15
"""Rows of 135 at top and bottom that may have overlaid text."""
_CHROMA = 4
"""An infrared picture has a 95th percentile of chroma below this: mostly 0; fog by day has 5 to 8."""
_RICH = 24
"""The least range of grey values in a block with something sharp in it."""
_FEWEST_RICH = 6
_LOST = 0.3
"""A tile that agrees less than this with the reference is lost."""
_LEFT = 0.35
"""A lost tile with less than this share of the reference's gradient is a hole."""
_WHITE = 245
_ALIVE = 64
"""A row that differs from the one above in a quarter of its pixels (of 255) is alive; overlaid text has fewer."""
_BLOCK_RANGE = 6
"""A block of 8 x 8 with a pixel this far from its mean has structure."""
_REACH = 0.2
_NEAR = 0.02
"""Displacements as shares of the frame: the search range, and that of a shaking pole."""


class Sight:
    """A decoded picture. Raises Unusable if it is not a picture."""

    def __init__(self, image: Image.Image, size: tuple[int, int]) -> None:
        self.size = size
        """The original size."""
        self._image = image.convert("YCbCr") if image.mode != "L" else image
        bands = self._image.split()
        self.grey = bands[0]
        self._chroma = bands[1:]

    @classmethod
    def of(cls, jpeg: bytes) -> "Sight":
        """Decode a JPEG. Raises Unusable."""
        image, size = opened(jpeg, "YCbCr", (_WIDE, _HIGH))
        return cls(image if image.size == (_WIDE, _HIGH) else image.resize((_WIDE, _HIGH), _BOX), size)

    @cached_property
    def figures(self) -> Figures:
        """All its measurements."""
        return Figures(
            *self.size, self.light, self.mean, self.spread, self.white, self.dead, self.sharpness, self.structured
        )  # fmt: skip

    # ---- alone --------------------------------------------------------------------------------------

    @cached_property
    def light(self) -> Light:
        """Daylight, or the camera's own lamp."""
        small = [band.resize(_SMALL, _BOX).point(_FROM_MIDDLE) for band in self._chroma]
        if not small:
            return "infrared"
        return "infrared" if _percentile(ImageChops.lighter(*small), 0.95) < _CHROMA else "colour"

    @cached_property
    def mean(self) -> float:
        """Grey values 0-255."""
        counts = self._inner.histogram()
        return sum(value * count for value, count in enumerate(counts)) / sum(counts)

    @cached_property
    def spread(self) -> float:
        """Standard deviation of grey, without the overlaid text."""
        counts = self._inner.histogram()
        total = sum(counts)
        square = sum(value * value * count for value, count in enumerate(counts)) / total
        return math.sqrt(max(0.0, square - self.mean**2))

    @cached_property
    def white(self) -> float:
        """Share that is burnt out."""
        return sum(self.grey.histogram()[_WHITE:]) / (_WIDE * _HIGH)

    @cached_property
    def dead(self) -> float:
        """Share of the height, from the bottom, in which no row differs from the one above."""
        steps = ImageChops.difference(self.grey.crop((0, 1, _WIDE, _HIGH)), self.grey.crop((0, 0, _WIDE, _HIGH - 1)))
        still = steps.point(_IF_ANY).resize((1, _HIGH - 1), _BOX).tobytes()
        rows = next((count for count, one in enumerate(reversed(still)) if one > _ALIVE), len(still))
        return rows / _HIGH

    @cached_property
    def sharpness(self) -> float | None:
        """Steepest step divided by range, over blocks with structure; None: too few blocks."""
        grey = self.grey
        steps = ImageChops.lighter(
            ImageChops.difference(grey, ImageChops.offset(grey, -1, 0)),
            ImageChops.difference(grey, ImageChops.offset(grey, 0, -1)),
        )
        step, high, low = _blocks(steps, 15), _blocks(grey, 16), _blocks(ImageChops.invert(grey), 16)
        inner = range(_WIDE // 16 * 2, _WIDE // 16 * (_HIGH // 16 - 2))
        spans = {at: high[at] + low[at] - 255 for at in inner}
        rich = sorted((at for at, span in spans.items() if span > _RICH), key=spans.__getitem__)
        # Only the richer half, where noise at night has the least weight.
        steepest = [step[at] / spans[at] for at in rich[len(rich) // 2 :]]
        return _of_sorted(steepest, 0.75) if len(steepest) >= _FEWEST_RICH else None

    @cached_property
    def structured(self) -> float:
        """Share of the tiles with strong, non-repeating structure, which a reference needs."""
        # A brick wall matches itself at many displacements, so only non-repeating structure counts.
        onto_itself = _Slide(self.fields.coarse, self.fields.coarse, *_COARSE_REACH)
        repeat = max(onto_itself.at(dx, dy) for dx, dy in _RING if not _is_near(dx, dy))
        strong = sum(1 for one in self.fields.gradients if one > _STRONG) / len(self.fields.gradients)
        return strong * max(0.0, 1 - max(0.0, repeat - 0.5) * 2)

    @property
    def _inner(self) -> Image.Image:
        return self.grey.crop((0, 2 * _EDGE, _WIDE, _HIGH - 2 * _EDGE))

    @cached_property
    def fields(self) -> "_Fields":
        """The structure of a picture at 240 x 135."""
        return _Fields.of(self.grey.resize(_SMALL, _BOX))


class _Fields:
    """Gradient divided by its magnitude, in both directions, as two pictures side by side; 128 is zero."""

    def __init__(self, whole: Image.Image, gradients: list[float], small: Image.Image) -> None:
        self.whole = whole
        self.gradients = gradients
        """Mean magnitude per tile."""
        self._small = small

    @classmethod
    def of(cls, small: Image.Image) -> "_Fields":
        size, dx, dy = _gradient(small)
        field = _field(size, dx, dy)
        return cls(field, _floats(size.resize(_TILES, _BOX)), small)

    @property
    def inner(self) -> Image.Image:
        """Without the rows that may have overlaid text."""
        return self.whole.crop((0, _EDGE, self.whole.size[0], _SMALL[1] - _EDGE))

    @cached_property
    def coarse(self) -> Image.Image:
        """At a quarter of the resolution."""
        width, height = _SMALL[0] // 4, (_SMALL[1] - 2 * _EDGE) // 4
        inner = self._small.crop((0, _EDGE, _SMALL[0], _SMALL[1] - _EDGE))
        return _field(*_gradient(inner.resize((width, height), _BOX)), _COARSE_GAIN)


def compare(mine: Sight, reference: Sight) -> Compared:
    """Compare a picture with the reference of its place."""
    here, there = mine.fields, reference.fields
    slide = _Slide(here.inner, there.inner, *_WHOLE_REACH)
    afar = _Slide(here.coarse, there.coarse, *_COARSE_REACH)
    dx, dy = _nearest(slide)
    zero = slide.at(dx, dy)
    displacement = Displacement(0.0, 0.0, zero, zero) if zero >= _SURE else _searched(slide, afar, zero)
    agreement = _tiles(here.whole, there.whole, dx, dy)
    weights = [one if one > _STRONG else 0.0 for one in there.gradients]
    total = sum(weights) or 1.0
    lost = [weight > 0 and one < _LOST for weight, one in zip(weights, agreement, strict=True)]
    ratios = [one / max(1e-3, other) for one, other in zip(here.gradients, there.gradients, strict=True)]
    empty = [gone and ratio < _LEFT for gone, ratio in zip(lost, ratios, strict=True)]
    strong = [at for at, weight in enumerate(weights) if weight > 0]
    return Compared(
        displacement,
        sum(weight for weight, gone in zip(weights, lost, strict=True) if gone) / total,
        sum(weight for weight, gone in zip(weights, empty, strict=True) if gone) / total,
        _largest_patch(lost), _largest_patch(empty),
        sum(here.gradients[at] for at in strong) / total if strong else 0.0,
        _of_sorted([ratios[at] for at in strong], 0.8) if strong else 0.0,
        _of_sorted([agreement[at] for at in strong], 0.25) if strong else 0.0,
        max(afar.at(*place) for place in _around((0, 0), 1)),
    )  # fmt: skip


def alike(one: bytes, other: bytes) -> float:
    """Share of 8 x 8 blocks with structure that are identical in both; 0: different size, or no structure.

    Raises Unusable.
    """
    here, _ = opened(one, "L", _DETAILED)
    there, _ = opened(other, "L", _DETAILED)
    here, there = (image if image.mode == "L" else image.convert("L") for image in (here, there))
    if here.size != there.size or min(here.size) < 8:
        return 0.0
    width, height = (side // 8 * 8 for side in here.size)
    here, there = here.crop((0, 0, width, height)), there.crop((0, 0, width, height))
    mean = here.reduce(8).resize((width, height), Image.Resampling.NEAREST)
    rich = ImageChops.difference(here, mean).point(_IF_RICH).reduce(8).point(_IF_ANY)
    differ = ImageChops.difference(here, there).point(_IF_ANY).reduce(8).point(_IF_ANY)
    total = rich.histogram()[255]
    return ImageChops.subtract(rich, differ).histogram()[255] / total if total >= _FEWEST_BLOCKS else 0.0


# ---- pieces -----------------------------------------------------------------------------------------

_BOX = Image.Resampling.BOX
_FEWEST_BLOCKS = 64
_DETAILED = 1280, 720
"""Pictures up to 1080p are decoded at full size, because identity shows in the finest details."""
_STRONG = 3.0
"""Least mean gradient of a tile with structure, grey values."""
_SURE = 0.45
"""If a picture matches this well at its place, no other displacement is searched."""
_GAIN = 127.0
_COARSE_GAIN = 31.0
"""Gain at low resolution, where hundreds of displacements are compared: fewer grey levels are faster and suffice."""
_FROM_MIDDLE = [abs(one - 128) for one in range(256)]
_IF_ANY = [255 if one else 0 for one in range(256)]
_IF_RICH = [255 if one > _BLOCK_RANGE else 0 for one in range(256)]
_SQUARES = [one * one for one in range(256)]
_COARSE_REACH = round(_REACH * _SMALL[0] / 4), round(_REACH * _SMALL[1] / 4)
_WHOLE_REACH = 4 * _COARSE_REACH[0] + 3, 4 * _COARSE_REACH[1] + 3
_RING = [(dx, dy) for dx in range(-12, 13, 2) for dy in range(-6, 7, 2)]


def _is_near(dx: int, dy: int) -> bool:
    return abs(dx) <= 2 and abs(dy) <= 2


def _gradient(small: Image.Image) -> tuple[Image.Image, Image.Image, Image.Image]:
    """Magnitude and both signed components, as F; zero in border rows and columns."""
    wide, high = small.size
    grey = small.convert("F")
    parts = []
    for ahead, behind in (
        ((2, 1, wide, high - 1), (0, 1, wide - 2, high - 1)),
        ((1, 2, wide - 1, high), (1, 0, wide - 1, high - 2)),
    ):
        whole = Image.new("F", small.size, 0.0)
        whole.paste(_maths(lambda a: a["a"] - a["b"], a=grey.crop(ahead), b=grey.crop(behind)), (1, 1))
        parts.append(whole)
    dx, dy = parts
    size = _maths(lambda a: a["max"](abs(a["x"]), abs(a["y"])), x=dx, y=dy)
    return size, dx, dy


def _field(size: Image.Image, dx: Image.Image, dy: Image.Image, gain: float = _GAIN) -> Image.Image:
    """Both components divided by magnitude + c, side by side; at most `gain` away from 128."""
    wide, high = size.size
    soft = max(3.0, 1.5 * _percentile(size.convert("L"), 0.5))
    both = Image.new("L", (2 * wide, high), 128)
    for place, part in ((0, dx), (wide, dy)):
        scaled = _maths(lambda a: a["p"] * gain / (a["s"] + soft) + 128.5, p=part, s=size)
        both.paste(scaled.convert("L"), (place, 0))
    return both


def _maths(what: Any, **images: Image.Image) -> Image.Image:
    made: Image.Image = ImageMath.lambda_eval(what, **images)
    return made


def _floats(image: Image.Image) -> list[float]:
    return [float(one) for one in image.get_flattened_data()]  # type: ignore[arg-type]


class _Slide:
    """Slides one field over another: their agreement at each displacement, up to `far_x`, `far_y`."""

    def __init__(self, here: Image.Image, there: Image.Image, far_x: int, far_y: int) -> None:
        self._here, self._there = _padded(here, far_x, far_y), _padded(there, far_x, far_y)
        self._mine, self._its = _Power(here), _Power(there)
        self._size = here.size[0] // 2, here.size[1]
        lows, highs = zip(_range(here), _range(there), strict=True)
        self._squares = _SQUARES[: max(highs) - min(lows) + 1]
        """Squares of all possible differences."""
        self._known: dict[tuple[int, int], float] = {}

    def at(self, dx: int, dy: int) -> float:
        """The correlation of the overlap if the first is moved by this many pixels."""
        if (dx, dy) not in self._known:
            self._known[dx, dy] = self._agreement(dx, dy)
        return self._known[dx, dy]

    def best(self, places: Iterable[tuple[int, int]]) -> tuple[int, int]:
        """The best of these displacements."""
        return max(places, key=lambda place: self.at(*place))

    def _agreement(self, dx: int, dy: int) -> float:
        wide, high = self._size
        mine = self._mine.within(max(0, dx), max(0, dy), min(wide, wide + dx), min(high, high + dy))
        its = self._its.within(max(0, -dx), max(0, -dy), min(wide, wide - dx), min(high, high - dy))
        apart = ImageChops.difference(self._here, ImageChops.offset(self._there, dx, dy)).histogram()
        # The sum of products is computed from sums of squares, without a picture of products. Outside of the overlap
        # one of both is zero.
        both = self._mine.total + self._its.total - sum(map(int.__mul__, apart, self._squares))
        return both / 2 / max(1.0, math.sqrt(mine * its))


class _Power:
    """Sums of squares over any part of a field, both directions together."""

    def __init__(self, field: Image.Image) -> None:
        self._squares = _maths(lambda it: (it["a"] - 128) * (it["a"] - 128), a=field.convert("F"))
        self._rows: dict[tuple[int, int], list[float]] = {}
        self.total = self.within(0, 0, field.size[0] // 2, field.size[1])

    def within(self, left: int, top: int, right: int, bottom: int) -> float:
        """The sum over these columns and rows."""
        if (top, bottom) not in self._rows:
            wide = self._squares.size[0]
            means = _floats(self._squares.resize((wide, 1), _BOX, (0, top, wide, bottom)))
            both = map(float.__add__, means[: wide // 2], means[wide // 2 :])
            self._rows[top, bottom] = [0.0, *accumulate(one * (bottom - top) for one in both)]
        sums = self._rows[top, bottom]
        return sums[right] - sums[left]


def _range(field: Image.Image) -> tuple[int, int]:
    """The lowest and the highest value of the field."""
    low, high = field.getextrema()
    return int(low), int(high)  # type: ignore[arg-type]


def _padded(field: Image.Image, far_x: int, far_y: int) -> Image.Image:
    """The field padded with zeros at the right of each direction and at the bottom, for sliding."""
    wide, high = field.size[0] // 2, field.size[1]
    roomy = Image.new("L", (2 * (wide + far_x), high + far_y), 128)
    roomy.paste(field.crop((0, 0, wide, high)), (0, 0))
    roomy.paste(field.crop((wide, 0, 2 * wide, high)), (wide + far_x, 0))
    return roomy


def _nearest(slide: _Slide) -> tuple[int, int]:
    """The best displacement within the range of a shaking pole, in pixels of 240 x 135."""
    far_x, far_y = int(_NEAR * _SMALL[0]), int(_NEAR * _SMALL[1])
    best = slide.best(_around((0, 0), 1))
    if slide.at(*best) < _SURE:
        grid = [(dx, dy) for dx in range(-far_x, far_x + 1, 2) for dy in range(-far_y, far_y + 1)]
        best = slide.best((best, *grid))
        best = slide.best(it for it in _around(best, 1) if abs(it[0]) <= far_x and abs(it[1]) <= far_y)
    return best


def _searched(slide: _Slide, afar: _Slide, zero: float) -> Displacement:
    """The best displacement within 20 %, first searched at a quarter of the resolution."""
    far_x, far_y = _COARSE_REACH
    places = [(dx, dy) for dx in range(-far_x, far_x + 1) for dy in range(-far_y, far_y + 1)]
    likely = sorted(places, key=lambda it: -afar.at(*it))[:2]
    best = slide.best(place for x, y in likely for place in _around((4 * x, 4 * y), 2))
    best = slide.best(_around(best, 1))
    peak = slide.at(*best)
    if peak <= zero:
        return Displacement(0.0, 0.0, zero, zero)
    return Displacement(best[0] / _SMALL[0], best[1] / _SMALL[1], peak, zero)


def _around(place: tuple[int, int], step: int) -> list[tuple[int, int]]:
    """A displacement and its eight neighbours."""
    return [(place[0] + dx, place[1] + dy) for dx in (-step, 0, step) for dy in (-step, 0, step)]


def _tiles(here: Image.Image, there: Image.Image, dx: int, dy: int) -> list[float]:
    """The correlation of both fields per tile, with the first moved by this many pixels."""
    wide, high = _SMALL
    parts = []
    for left in (0, wide):
        mine = ImageChops.offset(here.crop((left, 0, left + wide, high)), -dx, -dy).convert("F")
        its = there.crop((left, 0, left + wide, high)).convert("F")
        for a, b in ((mine, its), (mine, mine), (its, its)):
            product = _maths(lambda it: (it["a"] - 128) * (it["b"] - 128), a=a, b=b)
            parts.append(_floats(product.resize(_TILES, _BOX)))
    products, mine2, its2 = ([x + y for x, y in zip(parts[n], parts[n + 3], strict=True)] for n in range(3))
    return [
        both / max(1.0, (its * max(mine, its / 4)) ** 0.5)
        for both, mine, its in zip(products, mine2, its2, strict=True)
    ]  # fmt: skip


def _largest_patch(marked: Sequence[bool]) -> float:
    """The largest group of adjacent tiles, as a share of all tiles."""
    across, down = _TILES
    left = {at for at, one in enumerate(marked) if one}
    largest = 0
    while left:
        ahead, size = [left.pop()], 0
        while ahead:
            at = ahead.pop()
            size += 1
            x, y = at % across, at // across
            for near, there in ((at - 1, x > 0), (at + 1, x < across - 1), (at - across, y > 0),
                                (at + across, y < down - 1)):  # fmt: skip
                if there and near in left:
                    left.remove(near)
                    ahead.append(near)
        largest = max(largest, size)
    return largest / (across * down)


def _blocks(image: Image.Image, side: int) -> bytes:
    """The largest value of each complete 16 x 16 block, over its first `side` rows and columns."""
    step, reached = image, 1
    while reached < side:
        more = min(reached, side - reached)
        step = ImageChops.lighter(step, ImageChops.offset(step, -more, 0))
        step = ImageChops.lighter(step, ImageChops.offset(step, 0, -more))
        reached += more
    across, down = image.size[0] // 16, image.size[1] // 16
    corners = ImageChops.offset(step, 8, 8).crop((0, 0, across * 16, down * 16))
    return corners.resize((across, down), Image.Resampling.NEAREST).tobytes()


def _percentile(image: Image.Image, share: float) -> int:
    """A percentile of the values of a grey picture."""
    wanted = share * image.size[0] * image.size[1]
    seen = 0
    for value, count in enumerate(image.histogram()):
        seen += count
        if seen >= wanted:
            return value
    return 255


def _of_sorted(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
