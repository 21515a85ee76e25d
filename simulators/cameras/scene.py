"""What a camera looks at: a place by day and by infrared night, its weather, and what can be wrong with the picture.

view = Scene("yard", 1).picture(SceneView(seed=7, night=True, fault="covered"))

A place is polygons of named materials out of a seed, larger than the view; each material has a colour by day, a
brightness in infrared and a roughness. Everything is drawn, none of it is real footage. Times and pictures repeat for
the same seeds.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from random import Random
from typing import Final, Literal

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

Kind = Literal["yard", "gate", "garage", "pump-room"]
KINDS: Final[tuple[Kind, ...]] = ("yard", "gate", "garage", "pump-room")
Weather = Literal["", "rain", "snowfall", "snow", "bare", "autumn", "haze", "fog", "headlights", "glare"]
SIZE: Final = (960, 540)
_MARGIN_SHARE: Final = 0.2
"""The place reaches so far beyond each side of the view, in shares of it."""
Colour = tuple[int, int, int]
_MATERIALS: Final[dict[str, tuple[Colour, int, int]]] = {
    "sky": ((168, 190, 220), 14, 4), "wall": ((186, 170, 148), 120, 80), "brick": ((150, 84, 66), 96, 120),
    "glass": ((70, 88, 104), 26, 20), "road": ((104, 104, 108), 84, 90), "grass": ((86, 120, 58), 170, 150),
    "leaf": ((52, 92, 40), 200, 190), "trunk": ((84, 66, 50), 90, 120), "metal": ((150, 156, 162), 140, 30),
    "paint": ((226, 226, 220), 220, 30), "red": ((186, 40, 36), 110, 30), "yellow": ((220, 180, 50), 190, 30),
    "concrete": ((142, 140, 134), 110, 110), "dark": ((52, 54, 60), 40, 60), "blue": ((46, 84, 150), 90, 30),
}  # fmt: skip
"""Name -> colour by day, brightness in infrared, roughness 0-255."""


@dataclass(frozen=True, slots=True)
class SceneView:
    """How the place is seen. Shares of the frame unless said otherwise."""

    seed: int = 0
    night: bool = False
    sun: float = 0.4
    shadow: float = 0.5
    """Where the shadow lies, 0-1."""
    exposure: float = 1.0
    noise: float = 2.0
    """Sigma, grey values."""
    cars: int = 0
    people: int = 0
    shake: tuple[int, int] = (0, 0)
    """Pixels."""
    weather: Weather = ""
    fault: str = ""
    """A name of `FAULTS`, perhaps with its measure: `blurred 5`."""
    clock: str = "2026-12-01 02:00:07"
    name: str = "CAM 01"
    quality: int = 65
    size: tuple[int, int] = SIZE


FAULTS: Final = (
    "dark", "bright", "flat", "text-black", "text-blue",
    "covered 0.45", "covered 0.7", "covered 1", "leaf 0.35", "leaf 0.5", "spray 0.5", "spray 0.8", "spray 1.2",
    "blurred 3", "blurred 4", "blurred 5", "blurred 8", "blurred 12",
    "moved 3", "moved 5", "moved 10", "moved 12", "moved 18", "turned 6", "zoomed 1.25", "another",
    "grey 0.3", "grey 0.5", "grey 0.7", "smeared 0.3", "smeared 0.6", "cut 0.6", "static",
)  # fmt: skip
"""What can be wrong with one picture."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One place. The same kind and seed are the same place."""

    kind: Kind
    seed: int

    def picture(self, view: SceneView) -> bytes:
        """The JPEG as a camera would send it."""
        what, _, measure = view.fault.partition(" ")
        amount = float(measure) if measure else 1.0
        random = Random(f"{self.kind}/{self.seed}/{view.seed}")  # noqa: S311 - repeatable on purpose
        image = self._framed(view, what, amount, random)
        image = _weathered(image, view, random)
        image = _lit(image, view)
        lamps = {"headlights": 2, "glare": 10}.get(view.weather, 0)
        if lamps:
            image = _with_lamps(image, lamps, random)
        image = _faulted(image, what, amount, random)
        if what not in ("text-black", "text-blue", "flat"):
            image = _noisy(image, view.noise, random)
        if what in ("grey", "smeared"):
            image = _dead_below(image, amount, smear=what == "smeared")
        _burn_in(image, view)
        data = encoded(image.convert("L").convert("RGB") if view.night else image, view)
        return data[: int(len(data) * amount)] if what == "cut" else data

    def _framed(self, view: SceneView, what: str, amount: float, random: Random) -> Image.Image:
        """The view of the place at full light, with what stands in it."""
        kind, seed = (self.kind, self.seed) if what != "another" else _another(self.kind, self.seed)
        foliage = view.weather if view.weather in ("bare", "autumn", "snow") else ""
        canvas = _canvas(kind, seed, view.night, foliage).copy()
        _things(canvas, view, random)
        dx, dy = view.shake
        if what == "moved":
            way = random.choice((-1, 1))
            dx += round(way * amount / 100 * SIZE[0])
            dy += round(random.uniform(-0.3, 0.3) * amount / 100 * SIZE[1])
        if what == "turned":
            canvas = canvas.rotate(amount * random.choice((-1, 1)), Image.Resampling.BILINEAR)
        left, top = round(SIZE[0] * _MARGIN_SHARE) + dx, round(SIZE[1] * _MARGIN_SHARE) + dy
        width, height = SIZE
        if what == "zoomed":
            left, top = left + round(width * (1 - 1 / amount) / 2), top + round(height * (1 - 1 / amount) / 2)
            width, height = round(width / amount), round(height / amount)
        frame = canvas.crop((left, top, left + width, top + height))
        return frame if frame.size == SIZE else frame.resize(SIZE, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, view: SceneView) -> bytes:
    """As a JPEG of the view's size and quality."""
    if image.size != view.size:
        image = image.resize(view.size, Image.Resampling.BICUBIC)
    out = BytesIO()
    image.save(out, "JPEG", quality=view.quality)
    return out.getvalue()


def usual(random: Random, *, night: bool) -> SceneView:
    """A good picture of an ordinary hour."""
    return SceneView(
        seed=random.randrange(1 << 30), night=night, sun=random.random(), shadow=random.random(),
        exposure=random.uniform(0.75, 1.25), noise=random.uniform(3, 7) if night else random.uniform(1, 3),
        cars=random.randrange(5), people=random.randrange(3),
        shake=(random.randint(-4, 4), random.randint(-4, 4)), quality=random.randint(45, 80),
        clock=f"2026-{random.randint(1, 12):02}-{random.randint(1, 28):02} {random.randrange(24):02}:"
        f"{random.randrange(60):02}:{random.randrange(60):02}",
    )  # fmt: skip


# ---- the place --------------------------------------------------------------------------------------


def _another(kind: Kind, seed: int) -> tuple[Kind, int]:
    return KINDS[(KINDS.index(kind) + 1) % len(KINDS)], seed + 100


class _Painter:
    """Draws materials in shares of the place, onto colour and onto roughness at once."""

    def __init__(self, size: tuple[int, int], night: bool) -> None:
        self.size = size
        self.night = night
        self.image = Image.new("RGB", size)
        self.rough = Image.new("L", size)
        self._draws = ImageDraw.Draw(self.image), ImageDraw.Draw(self.rough)

    def paint(self, material: str, *points: tuple[float, float], shade: float = 1.0) -> None:
        """A polygon; two points are a box, `shade` makes it darker or brighter."""
        self._draw("polygon" if len(points) > 2 else "rectangle", material, points, shade)

    def round(self, material: str, centre: tuple[float, float], radius: float, shade: float = 1.0) -> None:
        """A disc; the radius in shares of the width."""
        (x, y), tall = centre, radius * self.size[0] / self.size[1]
        self._draw("ellipse", material, ((x - radius, y - tall), (x + radius, y + tall)), shade)

    def _draw(self, how: str, material: str, points: tuple[tuple[float, float], ...], shade: float) -> None:
        colour, infrared, rough = _MATERIALS[material]
        shades = (infrared,) * 3 if self.night else colour
        place = [(x * self.size[0], y * self.size[1]) for x, y in points]
        getattr(self._draws[0], how)(place, fill=tuple(min(255, int(one * shade)) for one in shades))
        getattr(self._draws[1], how)(place, fill=rough)


@lru_cache(maxsize=24)
def _canvas(kind: Kind, seed: int, night: bool, foliage: str) -> Image.Image:
    size = round(SIZE[0] * (1 + 2 * _MARGIN_SHARE)), round(SIZE[1] * (1 + 2 * _MARGIN_SHARE))
    random = Random(f"{kind}/{seed}")  # noqa: S311 - repeatable on purpose
    painter = _Painter(size, night)
    {"yard": _yard, "gate": _gate, "garage": _garage, "pump-room": _pump_room}[kind](painter, random, foliage)
    rough = ImageChops.add(painter.image, _texture(size, random), 1, -128)
    return Image.composite(rough, painter.image, painter.rough)


def _texture(size: tuple[int, int], random: Random) -> Image.Image:
    """Fixed noise at 1, 3 and 12 pixels."""
    total = Image.new("L", size, 128)
    for grain, gain in ((1, 0.2), (3, 0.35), (12, 0.4)):
        small = (size[0] // grain + 1, size[1] // grain + 1)
        layer = Image.frombytes("L", small, random.randbytes(small[0] * small[1]))
        layer = layer.resize(size, Image.Resampling.BICUBIC) if grain > 1 else layer.crop((0, 0, *size))
        total = ImageChops.add(total, layer.point([round(128 + (one - 128) * gain) for one in range(256)]), 1, -128)
    return Image.merge("RGB", (total,) * 3)


def _windows(painter: _Painter, random: Random, box: tuple[float, float, float, float], across: int, down: int) -> None:
    left, top, right, bottom = box
    wide, tall = (right - left) / across, (bottom - top) / down
    for row in range(down):
        for column in range(across):
            x, y = left + (column + 0.25) * wide, top + (row + 0.2) * tall
            shade = random.uniform(0.6, 1.3)
            painter.paint("paint", (x - 0.004, y - 0.006), (x + wide * 0.5 + 0.004, y + tall * 0.6 + 0.006))
            painter.paint("glass", (x, y), (x + wide * 0.5, y + tall * 0.6), shade=shade)
            if random.random() < 0.4:
                painter.paint("metal", (x, y + tall * 0.62), (x + wide * 0.3, y + tall * 0.8))


def _tree(painter: _Painter, random: Random, x: float, y: float, size: float, foliage: str) -> None:
    painter.paint("trunk", (x - size * 0.06, y - size), (x + size * 0.06, y))
    for _ in range(28):
        angle, far = random.uniform(0, math.tau), random.uniform(0, size * 0.7)
        at = x + far * math.cos(angle), y - size * 1.5 + far * math.sin(angle) * 1.4
        radius, shade = random.uniform(0.08, 0.22) * size, random.uniform(0.6, 1.5)
        if foliage in ("bare", "snow"):
            painter.paint("trunk", (x, y - size), at, (at[0] + 0.004, at[1]))
        else:
            painter.round("yellow" if foliage == "autumn" else "leaf", at, radius, shade)


def _ground(painter: _Painter, random: Random, top: float, material: str) -> None:
    painter.paint(material, (0, top), (1, 1))
    for _ in range(14):
        x, y = random.random(), random.uniform(top, 1)
        length = random.uniform(0.04, 0.12)
        shade = random.uniform(0.55, 1.4)
        painter.paint(material, (x, y), (x + length, y + 0.01), (x + length * 0.9, y + 0.045), (x - 0.02, y + 0.035),
                      shade=shade)  # fmt: skip
    for _ in range(6):
        x, y = random.random(), random.uniform(top + 0.05, 1)
        painter.paint("dark", (x, y), (x + 0.03, y + 0.02))


def _yard(painter: _Painter, random: Random, foliage: str) -> None:
    painter.paint("sky", (0, 0), (1, 1))
    edge = 0.0
    while edge < 1:
        wide, top = random.uniform(0.2, 0.34), random.uniform(0.05, 0.22)
        painter.paint(random.choice(("wall", "brick", "concrete")), (edge, top), (edge + wide, 0.55),
                      shade=random.uniform(0.8, 1.15))  # fmt: skip
        _windows(painter, random, (edge, top, edge + wide, 0.52), random.randint(4, 7), random.randint(3, 5))
        edge += wide + random.uniform(0, 0.04)
    _ground(painter, random, 0.55, "grass")
    way = random.uniform(0.3, 0.6)
    painter.paint("road", (way, 0.55), (way + 0.14, 0.55), (way + 0.5, 1), (way - 0.3, 1))
    for number in range(6):
        x, y = way + 0.07 + number * 0.006, 0.58 + number * 0.07
        painter.paint("paint", (x, y), (x + 0.008, y), (x + 0.014, y + 0.04), (x, y + 0.04))
    for _ in range(4):
        _tree(painter, random, random.random(), random.uniform(0.6, 0.85), random.uniform(0.07, 0.13), foliage)
    for _ in range(5):
        x, y = random.random(), random.uniform(0.6, 0.9)
        painter.paint(random.choice(("blue", "red", "metal")), (x, y), (x + 0.025, y + 0.07))
    if foliage == "snow":
        _snow(painter, random, 0.55)


def _snow(painter: _Painter, random: Random, top: float) -> None:
    for _ in range(26):
        x, y = random.uniform(-0.1, 1), random.uniform(top, 1)
        painter.round("paint", (x, y), random.uniform(0.02, 0.07), random.uniform(0.85, 1.0))


def _gate(painter: _Painter, random: Random, foliage: str) -> None:
    painter.paint("sky", (0, 0), (1, 1))
    painter.paint("brick", (0, 0.2), (1, 0.5), shade=random.uniform(0.8, 1.1))
    _windows(painter, random, (0, 0.2, 1, 0.5), random.randint(9, 14), 2)
    _ground(painter, random, 0.5, "road")
    for x in sorted(random.uniform(0.1, 0.9) for _ in range(3)):
        painter.paint("concrete", (x, 0.24), (x + 0.05, 0.66), shade=random.uniform(0.8, 1.3))
        painter.paint("paint", (x - 0.006, 0.22), (x + 0.056, 0.25))
        for number in range(4):
            painter.paint("red", (x, 0.5 + number * 0.04), (x + 0.05, 0.52 + number * 0.04))
    booth = random.uniform(0.05, 0.6)
    painter.paint("paint", (booth, 0.35), (booth + 0.16, 0.75), shade=0.9)
    painter.paint("glass", (booth + 0.02, 0.4), (booth + 0.14, 0.56))
    painter.paint("blue", (booth + 0.05, 0.6), (booth + 0.1, 0.75))
    for number in range(9):
        x = booth + 0.17 + number * 0.035
        painter.paint("red" if number % 2 else "paint", (x, 0.63), (x + 0.035, 0.655))
    for number in range(5):
        painter.paint("yellow", (0.1 + number * 0.17, 0.84), (0.18 + number * 0.17, 0.84), (0.16 + number * 0.17, 0.88),
                      (0.08 + number * 0.17, 0.88))  # fmt: skip
    for _ in range(3):
        _tree(painter, random, random.random(), 0.55, random.uniform(0.08, 0.13), foliage)
    if foliage == "snow":
        _snow(painter, random, 0.6)


def _garage(painter: _Painter, random: Random, _foliage: str) -> None:
    painter.paint("concrete", (0, 0), (1, 1), shade=0.7)
    for number in range(6):
        painter.paint("concrete", (0, number * 0.06), (1, number * 0.06 + 0.03), shade=random.uniform(0.5, 1.2))
    painter.paint("paint", (0, 0.4), (1, 0.62), shade=0.75)
    painter.paint("blue", (0, 0.56), (1, 0.62))
    _ground(painter, random, 0.62, "concrete")
    for number in range(7):
        x = number / 6 + random.uniform(-0.04, 0.04)
        painter.paint("paint", (x, 0.64), (x + 0.015, 0.64), (x + (x - 0.5) * 0.6 + 0.03, 1), (x + (x - 0.5) * 0.6, 1))
    for x in (random.uniform(0.05, 0.35), random.uniform(0.42, 0.65), random.uniform(0.72, 0.92)):
        painter.paint("concrete", (x, 0.1), (x + 0.06, 0.85), shade=random.uniform(1.0, 1.5))
        for number in range(5):
            y = 0.6 + number * 0.05
            painter.paint("yellow" if number % 2 else "dark", (x, y), (x + 0.06, y + 0.05))
        painter.paint("red", (x + 0.015, 0.42), (x + 0.045, 0.52))
    for number in range(3):
        y = 0.12 + number * 0.07 + random.uniform(0, 0.03)
        painter.paint("red" if number == 1 else "metal", (0, y), (1, y + 0.018))
    for _ in range(10):
        x = random.random()
        painter.paint("paint", (x, 0.36), (x + 0.05, 0.38), shade=1.1)
        painter.paint(random.choice(("dark", "metal", "blue")), (x, 0.44), (x + 0.03, 0.53))


def _pump_room(painter: _Painter, random: Random, _foliage: str) -> None:
    painter.paint("paint", (0, 0), (1, 1), shade=0.8)
    for number in range(25):
        painter.paint("concrete", (number * 0.04, 0), (number * 0.04 + 0.004, 0.6), shade=random.uniform(0.8, 1.2))
    for number in range(8):
        painter.paint("concrete", (0, number * 0.08), (1, number * 0.08 + 0.006))
    _ground(painter, random, 0.6, "concrete")
    for number in range(4):
        y = random.uniform(0.05, 0.55)
        painter.paint("red" if number % 2 else "blue", (0, y), (1, y + 0.03))
        for _ in range(5):
            painter.round("dark", (random.random(), y + 0.015), 0.014)
    for number in range(4):
        x = 0.08 + number * 0.24 + random.uniform(-0.03, 0.03)
        painter.paint("red", (x, 0.5), (x + 0.1, 0.75), shade=random.uniform(0.8, 1.2))
        painter.round("metal", (x + 0.05, 0.5), 0.05)
        painter.round("paint", (x + 0.05, 0.36), 0.025)
        painter.paint("dark", (x + 0.048, 0.34), (x + 0.054, 0.37))
        painter.paint("dark", (x - 0.01, 0.75), (x + 0.12, 0.79))
        painter.paint("metal", (x + 0.04, 0.1), (x + 0.055, 0.45))
    x = random.uniform(0.1, 0.8)
    painter.paint("metal", (x, 0.2), (x + 0.13, 0.7), shade=0.9)
    for number in range(6):
        at = x + 0.02 + 0.04 * (number % 3), 0.28 + 0.08 * (number // 3)
        painter.round(("red", "yellow", "leaf")[number % 3], at, 0.009)


# ---- what stands in it, weather and light -----------------------------------------------------------


def _things(canvas: Image.Image, view: SceneView, random: Random) -> None:
    draw = ImageDraw.Draw(canvas)
    width, height = canvas.size
    for _ in range(view.cars):
        x, y = random.uniform(0.15, 0.75) * width, random.uniform(0.55, 0.75) * height
        size = 50 + 90 * (y / height - 0.5)
        shade = random.choice((40, 90, 160, 220))
        body = (shade, shade, shade) if view.night else (shade, random.randrange(40, 220), random.randrange(40, 220))
        draw.rounded_rectangle((x, y, x + 2.2 * size, y + size), size / 5, fill=body)
        draw.rectangle((x + size * 0.4, y + size * 0.1, x + 1.8 * size, y + size * 0.45), fill=(40, 44, 50))
        for wheel in (0.4, 1.5):
            draw.ellipse((x + wheel * size, y + size * 0.75, x + (wheel + 0.35) * size, y + size * 1.1), fill=(20,) * 3)
    for _ in range(view.people):
        x, y = random.uniform(0.2, 0.8) * width, random.uniform(0.5, 0.7) * height
        shade = random.randrange(30, 200)
        draw.rectangle((x, y + 14, x + 20, y + 70), fill=(shade, shade // 2 if not view.night else shade, shade))
        draw.ellipse((x + 3, y, x + 17, y + 16), fill=(200, 170, 150) if not view.night else (190,) * 3)


def _weathered(image: Image.Image, view: SceneView, random: Random) -> Image.Image:
    draw = ImageDraw.Draw(image)
    width, height = SIZE
    if view.weather == "rain":
        for _ in range(220):
            x, y, long = random.randrange(width), random.randrange(height), random.randrange(10, 34)
            draw.line((x, y, x - long // 5, y + long), fill=(190, 194, 200))
    if view.weather == "snowfall":
        for _ in range(320):
            x, y, far = random.randrange(width), random.randrange(height), random.uniform(1, 4)
            draw.ellipse((x, y, x + far, y + far), fill=(235, 236, 240))
    if view.weather in ("haze", "fog"):
        thick = random.uniform(0.25, 0.4) if view.weather == "haze" else random.uniform(0.76, 0.82)
        image = Image.blend(image, Image.new("RGB", SIZE, (176, 178, 182)), thick)
    return image


def _with_lamps(image: Image.Image, lamps: int, random: Random) -> Image.Image:
    light = Image.new("L", SIZE)
    draw = ImageDraw.Draw(light)
    for number in range(lamps):
        if number % 2 == 0:
            x, y = random.uniform(0.15, 0.75) * SIZE[0], random.uniform(0.35, 0.75) * SIZE[1]
        else:
            x += 90
        radius = random.uniform(26, 34)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    glow = light.filter(ImageFilter.GaussianBlur(36)).point([min(255, one * 2) for one in range(256)])
    light = ImageChops.lighter(light.filter(ImageFilter.GaussianBlur(3)), glow)
    return ImageChops.screen(image, Image.merge("RGB", (light,) * 3))


def _lit(image: Image.Image, view: SceneView) -> Image.Image:
    if view.night:
        fall = Image.radial_gradient("L").resize(SIZE, Image.Resampling.BILINEAR).point(
            [max(70, round(255 - 0.75 * one)) for one in range(256)]
        )  # fmt: skip
        image = ImageChops.multiply(image, Image.merge("RGB", (fall,) * 3))
    elif view.sun > 0.1:
        shade = Image.new("L", SIZE, 255)
        x = (view.shadow * 1.4 - 0.2) * SIZE[0]
        place = [(x, SIZE[1] * 0.55), (x + 260, SIZE[1] * 0.55), (x + 420, SIZE[1]), (x + 60, SIZE[1])]
        ImageDraw.Draw(shade).polygon(place, fill=round(255 * (1 - 0.5 * view.sun)))
        shade = shade.filter(ImageFilter.GaussianBlur(2))
        image = ImageChops.multiply(image, Image.merge("RGB", (shade,) * 3))
    return image.point([min(255, round(one * view.exposure)) for one in range(256)] * 3)


def _noisy(image: Image.Image, sigma: float, random: Random) -> Image.Image:
    """Uniform noise of this sigma in every pixel, the same in every colour."""
    raw = Image.frombytes("L", SIZE, random.randbytes(SIZE[0] * SIZE[1]))
    grain = raw.point([round(128 + (one - 127.5) * sigma / 73.9) for one in range(256)])
    return ImageChops.add(image, Image.merge("RGB", (grain,) * 3), 1, -128)


# ---- what can be wrong ------------------------------------------------------------------------------


def _faulted(image: Image.Image, what: str, amount: float, random: Random) -> Image.Image:
    if what == "dark":
        return image.point([round(one * 0.05) for one in range(256)] * 3)
    if what == "bright":
        return image.point([min(255, 226 + one // 8) for one in range(256)] * 3)
    if what == "flat":
        return Image.new("RGB", SIZE, (118, 118, 118))
    if what in ("text-black", "text-blue"):
        image = Image.new("RGB", SIZE, (0, 0, 0) if what == "text-black" else (16, 24, 150))
        ImageDraw.Draw(image).text((330, 240), "VIDEO LOSS", fill=(255, 255, 255), font=_font(48))
        return image
    if what == "blurred":
        return image.filter(ImageFilter.GaussianBlur(amount))
    if what == "static":
        raw = Image.frombytes("L", (480, 270), random.randbytes(480 * 270)).resize(SIZE, Image.Resampling.NEAREST)
        return Image.merge("RGB", (raw,) * 3)
    if what in ("covered", "leaf", "spray"):
        return _covered(image, what, amount, random)
    return image


def _covered(image: Image.Image, what: str, amount: float, random: Random) -> Image.Image:
    mask = Image.new("L", SIZE)
    draw = ImageDraw.Draw(mask)
    width, height = SIZE
    if what == "spray":
        for _ in range(round(60 * amount)):
            x, y, radius = random.uniform(0, width), random.uniform(0, height), random.uniform(30, 95)
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    elif amount >= 1:
        draw.rectangle((0, 0, width, height), fill=255)
    else:
        left = random.choice((True, False))
        edge = width * amount
        bend = random.uniform(-0.12, 0.12) * width
        place = [(-40, -40), (edge + bend, -40), (edge - bend, height + 40), (-40, height + 40)]
        draw.polygon([(x if left else width - x, y) for x, y in place], fill=255)
    soft = {"covered": 16, "leaf": 4, "spray": 6}[what]
    mono = image.getpixel((5, 5)) if what == "leaf" else None
    colour = {"covered": (96, 70, 60), "spray": (40, 40, 44)}.get(what, (70, 96, 52))
    if isinstance(mono, tuple) and len(set(mono)) == 1:
        colour = (150, 150, 150)
    cover = Image.new("RGB", SIZE, colour)
    return Image.composite(cover, image, mask.filter(ImageFilter.GaussianBlur(soft)))


def _dead_below(image: Image.Image, top: float, *, smear: bool) -> Image.Image:
    at = round(SIZE[1] * top)
    below = (0, at, SIZE[0], SIZE[1])
    if smear:
        row = image.crop((0, at - 1, SIZE[0], at)).resize((SIZE[0], SIZE[1] - at), Image.Resampling.NEAREST)
        image.paste(row, below)
    else:
        image.paste((128, 128, 128), below)
    return image


@lru_cache(maxsize=4)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _burn_in(image: Image.Image, view: SceneView) -> None:
    draw = ImageDraw.Draw(image)
    places = ((16, 10, view.clock), (SIZE[0] - 130, SIZE[1] - 40, view.name))
    for x, y, text in places:
        draw.text((x, y), text, fill=(255, 255, 255), font=_font(26), stroke_width=1, stroke_fill=(0, 0, 0))
