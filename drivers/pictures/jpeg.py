"""Shrinks and cleans pictures. Takes tens of milliseconds: run it in a thread.

The result is a JPEG encoded by this program: no EXIF, no colour profile, no comment, nothing after its end.
"""

from io import BytesIO

from PIL import Image, ImageFile, UnidentifiedImageError

from drivers.pictures.markers import frame_of
from gateway.errors import GatewayError

MAX_JPEG_BYTES = 96 << 10
PIXELS = 40_000_000
"""A larger picture is treated as a decompression bomb."""
WHOLE = 8_000_000
"""The most pixels of a picture that is decoded as a whole: a JPEG with several scans, PNG, BMP."""
_LONG_SIDE = 1280
_QUALITIES = (80, 65, 50, 35)
SMALLEST = 64
"""The shortest usable side in pixels."""
_FORMATS = ("JPEG", "PNG", "BMP")

Image.preinit()  # otherwise the first picture would load the formats, when an upgrade may have removed their files
ImageFile.LOAD_TRUNCATED_IMAGES = False
Image.MAX_IMAGE_PIXELS = None  # checked here by the cost of the format, instead of Pillow's warning


class Unusable(GatewayError):
    """The bytes are not a complete picture of an acceptable size."""


def shrink(data: bytes, limit: int = MAX_JPEG_BYTES) -> bytes:
    """Make a JPEG of at most `limit` bytes, with the long side at most 1280. Raises Unusable."""
    image = decoded(data)
    image.thumbnail((_LONG_SIDE, _LONG_SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return encoded(image, limit)


def encoded(image: Image.Image, limit: int = MAX_JPEG_BYTES) -> bytes:
    """Encode as a JPEG of at most `limit` bytes, reducing quality and size until it fits. Raises Unusable."""
    while max(image.size) >= SMALLEST:
        for quality in _QUALITIES:
            found = _at_quality(image, quality)
            if len(found) <= limit:
                return found
        image = image.reduce(2)
    raise Unusable(f"does not fit into {limit} bytes")


def decoded(data: bytes) -> Image.Image:
    """Decode to RGB or grey without metadata, reduced while decoding if the format allows. Raises Unusable."""
    image, _ = opened(data, "RGB", (_LONG_SIDE, _LONG_SIDE), _FORMATS)
    clean = image.convert("L" if image.mode in ("L", "1") else "RGB")
    clean.info = {}
    return clean


def opened(
    data: bytes, mode: str, wanted: tuple[int, int], formats: tuple[str, ...] = ("JPEG",)
) -> tuple[Image.Image, tuple[int, int]]:
    """Open a picture, reduced to no less than `wanted` if its format allows; also its original size. Raises Unusable.

    `mode`: the mode of a coloured JPEG; others are unchanged.
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
    except Exception as error:  # a decoder may raise anything for hostile bytes
        is_known = is_jpeg or not isinstance(error, UnidentifiedImageError)
        raise Unusable("cut short or damaged" if is_known else "no picture") from error


def _bounded(size: tuple[int, int], pixels: int) -> None:
    """Raise Unusable if the picture has more pixels."""
    width, height = size
    if width * height > pixels:
        raise Unusable(f"too large: {width} x {height}")


def _at_quality(image: Image.Image, quality: int) -> bytes:
    out = BytesIO()
    image.save(out, "JPEG", quality=quality, optimize=False)
    return out.getvalue()
