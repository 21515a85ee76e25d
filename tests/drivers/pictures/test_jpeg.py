import random
import struct
import zlib
from io import BytesIO

import pytest
from PIL import Image

from drivers.pictures.jpeg import MAX_JPEG_BYTES, Unusable, shrink
from tests.drivers.pictures.attacks import resized


def noise(width: int, height: int, **options: object) -> bytes:
    """The hardest picture to make small."""
    chance = random.Random(1)  # noqa: S311 - repeatable on purpose
    image = Image.frombytes("RGB", (width, height), chance.randbytes(width * height * 3))
    out = BytesIO()
    image.save(out, **{"format": "JPEG", "quality": 90, **options})  # type: ignore[arg-type]
    return out.getvalue()


def opened(data: bytes) -> Image.Image:
    image = Image.open(BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize("size", [(640, 480), (1920, 1080), (2592, 1944), (300, 4000)])
def test_it_fits_and_keeps_its_shape(size: tuple[int, int]) -> None:
    found = shrink(noise(*size))
    assert len(found) <= MAX_JPEG_BYTES
    image = opened(found)
    assert max(image.size) <= 1280
    assert abs(image.width / image.height - size[0] / size[1]) < 0.02 * size[0] / size[1] + 0.01


@pytest.mark.parametrize("limit", [2_000, 20_000])
def test_a_smaller_limit(limit: int) -> None:
    assert len(shrink(noise(800, 600), limit)) <= limit


def test_a_limit_that_nothing_fits() -> None:
    with pytest.raises(Unusable, match="fit"):
        shrink(noise(800, 600), 100)


def test_a_plate_keeps_its_pixels() -> None:
    assert opened(shrink(noise(240, 80))).size == (240, 80)


def test_nothing_but_the_picture_is_left() -> None:
    exif = Image.Exif()
    exif[0x010E] = "who took it"
    data = noise(320, 240, exif=exif.tobytes(), icc_profile=b"PROFILE" * 20, comment=b"a comment") + b"TRAILER"
    assert all(one in data for one in (b"who took it", b"PROFILE", b"a comment", b"TRAILER"))
    found = shrink(data)
    assert not any(one in found for one in (b"who took it", b"PROFILE", b"a comment", b"TRAILER", b"Exif"))
    assert set(opened(found).info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_other_kinds_become_jpeg(kind: str) -> None:
    assert opened(shrink(noise(64, 48, format=kind, quality=None))).format == "JPEG"


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_other_colours(mode: str) -> None:
    out = BytesIO()
    Image.new(mode, (64, 48)).save(out, "JPEG")
    assert opened(shrink(out.getvalue())).mode == ("L" if mode == "L" else "RGB")


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("progressive", [False, True])
def test_one_that_is_cut_short_is_none(keep: float, *, progressive: bool) -> None:
    data = noise(640, 480, progressive=progressive)
    with pytest.raises(Unusable):
        shrink(data[: int(len(data) * keep)])


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(min(height * (width * 3 + 1), 50 << 20)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "data",
    [
        resized(noise(64, 64), 8000, 6000),
        resized(noise(64, 64), 65_000, 65_000),
        resized(noise(64, 64, progressive=True), 4000, 3000),
        png(4000, 4000),
        png(60_000, 60_000),
    ],
)
def test_a_bomb_is_not_decoded(data: bytes) -> None:
    with pytest.raises(Unusable, match="too large"):
        shrink(data)


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff", b"GIF89a" + bytes(100), b"<svg/>", bytes(1000)])
def test_no_picture(data: bytes) -> None:
    with pytest.raises(Unusable):
        shrink(data)
