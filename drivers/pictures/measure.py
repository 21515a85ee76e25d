"""What can be measured of a camera's picture, alone and against a reference of the same place. Pillow, no limits.

mine = Sight.of(jpeg)                  # 5-15 ms at 1080p
found = compare(mine, reference)       # 5-15 ms
alike(jpeg, another)                   # 20-40 ms: whether the camera shows the same moment again

Pictures are decoded reduced, to 480 x 270, and held against each other at 240 x 135 and in 16 x 9 tiles. What is
compared is structure: the gradient through its own size, so that exposure and shade drop out. Takes its time: run it
in a thread.
"""

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from PIL import Image, ImageChops, ImageMath

from drivers.pictures.jpeg import opened
from drivers.pictures.judge import Compared, Displacement, Figures, Light

_WIDE, _HIGH = 480, 270
_SMALL = 240, 135
_TILES = 16, 9
_EDGE = 15
"""Rows above and below where text is burnt in, of 135."""
_CHROMA = 4
"""An infrared picture has a 95th percentile of chroma below it: 0 mostly; fog by day has 5 to 8."""
_RICH = 24
"""Grey values between the darkest and the brightest pixel of a block that has something sharp in it."""
_FEWEST_RICH = 6
_LOST = 0.3
"""A tile whose structure agrees less with the reference is lost."""
_LEFT = 0.35
"""A lost tile with less of the reference's gradient is a hole."""
_WHITE = 245
_ALIVE = 64
"""A row that differs from the one above in a quarter of its pixels (of 255) is alive; a burnt-in text has less."""
_BLOCK_RANGE = 6
"""A block of 8 x 8 with a pixel so far from its mean has structure."""
_REACH = 0.2
_NEAR = 0.02
"""Displacements, in shares of the frame: how far one is looked for, and what a shaking pole does."""


class Sight:
    """A picture that was decoded. Raises Unusable: it is none."""

    def __init__(self, image: Image.Image, size: tuple[int, int]) -> None:
        self.size = size
        """As the camera sent it."""
        self._image = image.convert("YCbCr") if image.mode != "L" else image
        bands = self._image.split()
        self.grey = bands[0]
        self._chroma = bands[1:]

    @classmethod
    def of(cls, jpeg: bytes) -> "Sight":
        """Of a JPEG. Raises Unusable."""
        image, size = opened(jpeg, "YCbCr", (_WIDE, _HIGH))
        return cls(image if image.size == (_WIDE, _HIGH) else image.resize((_WIDE, _HIGH), _BOX), size)

    @cached_property
    def figures(self) -> Figures:
        """All that is measured of it alone."""
        return Figures(
            *self.size, self.light, self.mean, self.spread, self.white, self.dead, self.sharpness, self.structured
        )  # fmt: skip

    # ---- alone --------------------------------------------------------------------------------------

    @cached_property
    def light(self) -> Light:
        """Of the day, or of the camera's own lamp."""
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
        """Standard deviation of grey; of the picture without its text."""
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
        """Share of the height, from below, in which no row differs from the one above."""
        steps = ImageChops.difference(self.grey.crop((0, 1, _WIDE, _HIGH)), self.grey.crop((0, 0, _WIDE, _HIGH - 1)))
        still = steps.point(_IF_ANY).resize((1, _HIGH - 1), _BOX).tobytes()
        rows = next((count for count, one in enumerate(reversed(still)) if one > _ALIVE), len(still))
        return rows / _HIGH

    @cached_property
    def sharpness(self) -> float | None:
        """Steepest step through range, of blocks with something in them; None: there are too few."""
        grey = self.grey
        steps = ImageChops.lighter(
            ImageChops.difference(grey, ImageChops.offset(grey, -1, 0)),
            ImageChops.difference(grey, ImageChops.offset(grey, 0, -1)),
        )
        step, high, low = _blocks(steps, 15), _blocks(grey, 16), _blocks(ImageChops.invert(grey), 16)
        inner = range(_WIDE // 16 * 2, _WIDE // 16 * (_HIGH // 16 - 2))
        spans = {at: high[at] + low[at] - 255 for at in inner}
        rich = sorted((at for at, span in spans.items() if span > _RICH), key=spans.__getitem__)
        # The richer half: noise of the night makes steps too, and counts for least there.
        steepest = [step[at] / spans[at] for at in rich[len(rich) // 2 :]]
        return _of_sorted(steepest, 0.75) if len(steepest) >= _FEWEST_RICH else None

    @cached_property
    def structured(self) -> float:
        """Share of the tiles whose structure is strong and does not repeat itself: a reference needs it."""
        # A wall of bricks lies on itself wherever it is moved to: what counts is what does not.
        field = self.fields.coarse
        repeat = max(
            (_agreement(field, field, dx, dy) for dx, dy in _RING if not _is_near(dx, dy)), default=0.0
        )  # fmt: skip
        strong = sum(1 for one in self.fields.gradients if one > _STRONG) / len(self.fields.gradients)
        return strong * max(0.0, 1 - max(0.0, repeat - 0.5) * 2)

    @property
    def _inner(self) -> Image.Image:
        return self.grey.crop((0, 2 * _EDGE, _WIDE, _HIGH - 2 * _EDGE))

    @cached_property
    def fields(self) -> "_Fields":
        """Its structure at 240 x 135."""
        return _Fields.of(self.grey.resize(_SMALL, _BOX))


class _Fields:
    """Gradient through its own size, in both directions, as two pictures side by side; 128 is none."""

    def __init__(self, whole: Image.Image, gradients: list[float], small: Image.Image) -> None:
        self.whole = whole
        self.gradients = gradients
        """Mean size by tile."""
        self._small = small

    @classmethod
    def of(cls, small: Image.Image) -> "_Fields":
        size, dx, dy = _gradient(small)
        field = _field(size, dx, dy)
        return cls(field, _floats(size.resize(_TILES, _BOX)), small)

    @cached_property
    def coarse(self) -> Image.Image:
        """At a quarter."""
        width, height = _SMALL[0] // 4, (_SMALL[1] - 2 * _EDGE) // 4
        inner = self._small.crop((0, _EDGE, _SMALL[0], _SMALL[1] - _EDGE))
        return _field(*_gradient(inner.resize((width, height), _BOX)))


def compare(mine: Sight, reference: Sight) -> Compared:
    """A picture against the reference of its place."""
    here, there = mine.fields, reference.fields
    near = _nearest(here.whole, there.whole)
    displacement = Displacement(0.0, 0.0, near[2], near[2])
    if near[2] < _SURE:
        displacement = _searched(here, there, near[2])
    dx, dy = near[:2]
    agreement = _tiles(here.whole, there.whole, dx, dy)
    weights = [one if one > _STRONG else 0.0 for one in there.gradients]
    total = sum(weights) or 1.0
    lost = [weight > 0 and one < _LOST for weight, one in zip(weights, agreement, strict=True)]
    ratios = [one / max(1e-3, other) for one, other in zip(here.gradients, there.gradients, strict=True)]
    empty = [gone and ratio < _LEFT for gone, ratio in zip(lost, ratios, strict=True)]
    strong = [at for at, weight in enumerate(weights) if weight > 0]
    coarse = max(
        _agreement(here.coarse, there.coarse, x, y) for x in (-1, 0, 1) for y in (-1, 0, 1)
    )  # fmt: skip
    return Compared(
        displacement,
        sum(weight for weight, gone in zip(weights, lost, strict=True) if gone) / total,
        sum(weight for weight, gone in zip(weights, empty, strict=True) if gone) / total,
        _largest_patch(lost), _largest_patch(empty),
        sum(here.gradients[at] for at in strong) / total if strong else 0.0,
        _of_sorted([ratios[at] for at in strong], 0.8) if strong else 0.0,
        _of_sorted([agreement[at] for at in strong], 0.25) if strong else 0.0,
        coarse,
    )  # fmt: skip


def alike(one: bytes, other: bytes) -> float:
    """Share of the blocks of 8 x 8 with structure that are exactly the same in both; 0: of another size, no structure.

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
"""A picture up to 1080p is decoded whole: the same moment again shows in its smallest steps."""
_STRONG = 3.0
"""Mean gradient of a tile that has structure, grey values."""
_SURE = 0.45
"""A picture that lies so well where it belongs is not looked for elsewhere."""
_GAIN = 127.0
_FROM_MIDDLE = [abs(one - 128) for one in range(256)]
_IF_ANY = [255 if one else 0 for one in range(256)]
_IF_RICH = [255 if one > _BLOCK_RANGE else 0 for one in range(256)]
_SQUARES = [(one - 128) ** 2 for one in range(256)]
_PLAIN_SQUARES = [one * one for one in range(256)]
_RING = [(dx, dy) for dx in range(-12, 13, 2) for dy in range(-6, 7, 2)]


def _is_near(dx: int, dy: int) -> bool:
    return abs(dx) <= 2 and abs(dy) <= 2


def _gradient(small: Image.Image) -> tuple[Image.Image, Image.Image, Image.Image]:
    """Its size, and both parts signed, as F; rows and columns at the border are none."""
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


def _field(size: Image.Image, dx: Image.Image, dy: Image.Image) -> Image.Image:
    """Both directions through size + c, side by side with room between them."""
    wide, high = size.size
    soft = max(3.0, 1.5 * _percentile(size.convert("L"), 0.5))
    both = Image.new("L", (2 * wide, high), 128)
    for place, part in ((0, dx), (wide, dy)):
        scaled = _maths(lambda a: a["p"] * _GAIN / (a["s"] + soft) + 128.5, p=part, s=size)
        both.paste(scaled.convert("L"), (place, 0))
    return both


def _maths(what: Any, **images: Image.Image) -> Image.Image:
    made: Image.Image = ImageMath.lambda_eval(what, **images)
    return made


def _floats(image: Image.Image) -> list[float]:
    return [float(one) for one in image.get_flattened_data()]  # type: ignore[arg-type]


def _halves(field: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
    """The same cut-out of both directions, side by side."""
    wide = field.size[0] // 2
    left, top, right, bottom = box
    cut = Image.new("L", (2 * (right - left), bottom - top))
    cut.paste(field.crop(box), (0, 0))
    cut.paste(field.crop((left + wide, top, right + wide, bottom)), (right - left, 0))
    return cut


def _agreement(here: Image.Image, there: Image.Image, dx: int, dy: int, edge: int = 0) -> float:
    """Correlation of two fields if the first is moved by so many pixels; without `edge` rows above and below."""
    wide, high = here.size[0] // 2, here.size[1]
    left, right = max(0, dx), min(wide, wide + dx)
    top, bottom = max(edge, edge + dy), min(high - edge, high - edge + dy)
    if right - left < 8 or bottom - top < 8:
        return 0.0
    one = _halves(here, (left, top, right, bottom))
    other = _halves(there, (left - dx, top - dy, right - dx, bottom - dy))
    mine, its = _power(one, _SQUARES), _power(other, _SQUARES)
    apart = _power(ImageChops.difference(one, other), _PLAIN_SQUARES)
    # The sum of products out of the sums of squares: no picture of products is made.
    return (mine + its - apart) / 2 / max(1.0, math.sqrt(mine * its))


def _power(image: Image.Image, squares: Sequence[int]) -> int:
    return sum(map(int.__mul__, image.histogram(), squares))


def _nearest(here: Image.Image, there: Image.Image) -> tuple[int, int, float]:
    """Where it lies best within what a shaking pole does, in pixels of 240 x 135, and how well."""
    far_x, far_y = int(_NEAR * _SMALL[0]), int(_NEAR * _SMALL[1])
    known: dict[tuple[int, int], float] = {}

    def at(dx: int, dy: int) -> float:
        if (dx, dy) not in known:
            known[dx, dy] = _agreement(here, there, dx, dy, _EDGE)
        return known[dx, dy]

    best = max(((dx, dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1)), key=lambda place: at(*place))
    if at(*best) < _SURE:
        grid = [(dx, dy) for dx in range(-far_x, far_x + 1, 2) for dy in range(-far_y, far_y + 1)]
        best = max((best, *grid), key=lambda it: at(*it))
        best = max(
            (it for it in _around(best, 1) if abs(it[0]) <= far_x and abs(it[1]) <= far_y), key=lambda it: at(*it)
        )
    return *best, at(*best)


def _searched(here: _Fields, there: _Fields, zero: float) -> Displacement:
    """Where it lies best within 20 %: at a quarter first."""
    far_x, far_y = round(_REACH * _SMALL[0] / 4), round(_REACH * _SMALL[1] / 4)
    places = [(dx, dy) for dx in range(-far_x, far_x + 1) for dy in range(-far_y, far_y + 1)]
    scored = sorted(places, key=lambda it: -_agreement(here.coarse, there.coarse, *it))
    known = {
        place: _agreement(here.whole, there.whole, *place, _EDGE)
        for x, y in scored[:2]
        for place in _around((4 * x, 4 * y), 2)
    }
    best = max(known, key=known.__getitem__)
    known |= {place: _agreement(here.whole, there.whole, *place, _EDGE) for place in _around(best, 1)}
    best = max(known, key=known.__getitem__)
    if known[best] <= zero:
        return Displacement(0.0, 0.0, zero, zero)
    return Displacement(best[0] / _SMALL[0], best[1] / _SMALL[1], known[best], zero)


def _around(place: tuple[int, int], step: int) -> list[tuple[int, int]]:
    """A place and its eight neighbours."""
    return [(place[0] + dx, place[1] + dy) for dx in (-step, 0, step) for dy in (-step, 0, step)]


def _tiles(here: Image.Image, there: Image.Image, dx: int, dy: int) -> list[float]:
    """The correlation of both fields tile by tile, the first moved by so many pixels."""
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
    """The largest group of neighbours, in shares of all tiles."""
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
    """The largest value of each block of 16 x 16, of its first `side` rows and columns; whole blocks only."""
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
    """Of the values of a grey picture."""
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
