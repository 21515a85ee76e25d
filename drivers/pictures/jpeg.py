"""Pictures made small and clean. The only importer of Pillow. Takes tens of milliseconds: run it in a thread.

What comes out is a JPEG that this program made: no EXIF, no colour profile, no comment, nothing behind its end.
"""

from io import BytesIO

from PIL import Image, ImageFile, UnidentifiedImageError

from drivers.pictures.markers import frame_of
from gateway.errors import GatewayError

MAX_JPEG_BYTES = 96 << 10
PIXELS = 40_000_000
"""A larger picture is taken for a decompression bomb."""
WHOLE = 8_000_000
"""Pixels of a picture that is held whole while it is decoded: a JPEG in several scans, PNG, BMP."""
_LONG_SIDE = 1280
_QUALITIES = (80, 65, 50, 35)
SMALLEST = 64
"""Pixels of a side: what is smaller shows nothing."""
_FORMATS = ("JPEG", "PNG", "BMP")

Image.preinit()  # the formats would be loaded by the first picture: an upgrade may have taken their files by then
ImageFile.LOAD_TRUNCATED_IMAGES = False
Image.MAX_IMAGE_PIXELS = None  # judged here, by what the format costs, and by no warning


class Unusable(GatewayError):
    """The bytes are no whole picture of a bearable size."""


def shrink(data: bytes, limit: int = MAX_JPEG_BYTES) -> bytes:
    """The picture as a JPEG of at most `limit` bytes, its long side at most 1280. Raises Unusable."""
    image = decoded(data)
    image.thumbnail((_LONG_SIDE, _LONG_SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return encoded(image, limit)


def encoded(image: Image.Image, limit: int = MAX_JPEG_BYTES) -> bytes:
    """As a JPEG of at most `limit` bytes, coarser and smaller until it fits. Raises Unusable."""
    while max(image.size) >= SMALLEST:
        for quality in _QUALITIES:
            found = _at_quality(image, quality)
            if len(found) <= limit:
                return found
        image = image.reduce(2)
    raise Unusable(f"does not fit into {limit} bytes")


def decoded(data: bytes) -> Image.Image:
    """As RGB or grey, reduced while it is decoded where the format allows, without all else. Raises Unusable."""
    image, _ = opened(data, "RGB", (_LONG_SIDE, _LONG_SIDE), _FORMATS)
    clean = image.convert("L" if image.mode in ("L", "1") else "RGB")
    clean.info = {}
    return clean


def opened(
    data: bytes, mode: str, wanted: tuple[int, int], formats: tuple[str, ...] = ("JPEG",)
) -> tuple[Image.Image, tuple[int, int]]:
    """A picture, reduced to no less than `wanted` where its format allows, and its size as sent. Raises Unusable.

    `mode`: what a coloured JPEG is decoded to; others are as they come.
    """
    most = WHOLE
    is_jpeg = data.startswith(b"\xff\xd8")
    if is_jpeg:
        try:
            frame = frame_of(data)
        except ValueError as error:
            raise Unusable(str(error)) from error
        most = WHOLE if frame.whole else PIXELS
        _bounded((frame.width, frame.height), most)
        data = frame.plain
    try:
        with Image.open(BytesIO(data), formats=formats) as image:
            size = image.size
            _bounded(size, most)
            if image.format == "JPEG":
                image.draft("L" if image.mode == "L" else mode, wanted)
                _bounded(image.size, WHOLE)
            image.load()
            return image, size
    except Unusable:
        raise
    except Exception as error:  # a decoder raises anything on hostile bytes
        is_known = is_jpeg or not isinstance(error, UnidentifiedImageError)
        raise Unusable("cut short or damaged" if is_known else "no picture") from error


def _bounded(size: tuple[int, int], pixels: int) -> None:
    """Raises Unusable: it has more."""
    width, height = size
    if width * height > pixels:
        raise Unusable(f"too large: {width} x {height}")


def _at_quality(image: Image.Image, quality: int) -> bytes:
    out = BytesIO()
    image.save(out, "JPEG", quality=quality, optimize=False)
    return out.getvalue()
