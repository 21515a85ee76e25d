"""Photos and tags of answers: what is kept, what is refused, and what a hostile one costs."""

import base64
import hashlib
import math
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest
from PIL import Image, ImageDraw, ImageEnhance

from drivers.pictures.jpeg import Unusable
from drivers.pictures.photo import given_for, photo_of
from gateway.clock import Clock
from gateway.errors import NotDone
from gateway.intake.answers import MAX_PHOTO_BYTES, Answers
from gateway.intake.presence import is_code, read_tag
from gateway.model import Json, Perform
from gateway.settings.types import PlaceProof
from simulators.cameras.scene import KINDS, Scene, SceneView, usual
from tests.secret_texts import SecretText

KEY = "00" * 16
PICC, MAC = "EF963FF7828658A599F3041510671E88", "94EED9EE65337086"
"""NXP AN12196, "SUN with encrypted PICC data": UID 04DE5F1EACC040, counter 61."""


def scene(seed: int) -> Image.Image:
    rng = random.Random(seed)  # noqa: S311 - a picture
    image = Image.new("RGB", (640, 480), (rng.randrange(200), rng.randrange(200), 120))
    draw = ImageDraw.Draw(image)
    for _ in range(25):
        x, y = rng.randrange(640), rng.randrange(480)
        draw.rectangle(
            (x, y, x + rng.randrange(20, 250), y + rng.randrange(20, 200)), fill=tuple(rng.choices(range(256), k=3))
        )
    return image


def jpeg(image: Image.Image, quality: int = 75, **more: Any) -> bytes:
    out = BytesIO()
    image.save(out, "JPEG", quality=quality, **more)
    return out.getvalue()


class Kept:
    def __init__(self, **tags: PlaceProof) -> None:
        self.pictures: list[tuple[str, bytes]] = []
        self.answers = Answers(tags, self, Clock())

    def picture(self, camera: str, _passage: str | None, kind: str, _at: object, data: bytes, _id: str) -> None:
        self.pictures.append((f"{camera}/{kind}", data))

    async def look(self, **args: Json) -> dict[str, Any]:
        (errand,) = self.answers.errands().values()
        result: Any = await errand(Perform("1", "round.answer", args, "li"))
        return dict(result)


async def test_a_photo_is_made_anew_and_told_again() -> None:
    kept = Kept()
    data = jpeg(scene(1), exif=b"Exif\x00\x00GPS here", comment=b"me") + b"<script>"
    told = await kept.look(photo=base64.b64encode(data).decode(), known={})
    assert told["sha256"] == hashlib.sha256(data).hexdigest()
    assert told["presence"] == "none"
    ((name, picture),) = kept.pictures
    assert name == "phone/photo"
    for left in (b"GPS", b"me", b"<script>", b"Exif"):
        assert left not in picture
    again = jpeg(ImageEnhance.Brightness(scene(1).resize((320, 240))).enhance(0.9), quality=40)
    for repeat in (data, again, picture):
        with pytest.raises(NotDone, match="before"):
            await kept.look(photo=base64.b64encode(repeat).decode(), known={"it": [told["mark"]]})
    other = await kept.look(photo=base64.b64encode(jpeg(scene(2))).decode(), known={"it": [told["mark"]]})
    assert other["picture"] != told["picture"]


def repeats(mark: str, known: Sequence[str]) -> bool:
    return given_for(mark, {"new": (), "it": known}) == "it"


async def test_who_was_given_the_photo_before_is_named() -> None:
    kept = Kept()
    mark = photo_of(jpeg(scene(1)), "t").mark
    photo = base64.b64encode(jpeg(scene(1).rotate(90, expand=True))).decode()
    for item, words in (("nightly/person:pump", "this item"), ("nightly/person:roof", "nightly/person:pump")):
        with pytest.raises(NotDone, match=f"given for {words} before"):
            await kept.look(photo=photo, item=item, known={"nightly/person:pump": [mark]})
    assert kept.pictures == []


def test_another_photo_of_the_same_thing_is_another_photo() -> None:
    first = photo_of(jpeg(scene(3)), "t").mark
    moved = scene(3).transform((640, 480), Image.Transform.AFFINE, (1, 0, 60, 0, 1, 40))
    assert not repeats(photo_of(jpeg(moved), "t").mark, [first])
    assert repeats(first, ["", "zz", first])


@pytest.mark.parametrize("grey", [0, 90, 255])
@pytest.mark.parametrize("size", [(640, 480), (64, 64)])
async def test_what_shows_nothing_is_refused(grey: int, size: tuple[int, int]) -> None:
    """No mark would tell it again, however often it came."""
    kept = Kept()
    with pytest.raises(NotDone, match="shows nothing"):
        await kept.look(photo=base64.b64encode(jpeg(Image.new("RGB", size, (grey,) * 3))).decode(), known={})
    assert kept.pictures == []


@pytest.mark.parametrize("size", [(640, 1), (1, 640), (63, 480), (8, 8)])
def test_a_photo_that_is_too_small_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(Unusable, match="too small"):
        photo_of(jpeg(scene(1).resize(size)), "t")


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7])
def test_half_a_photo_with_a_proper_end_is_refused(share: float) -> None:
    whole = jpeg(Image.open(BytesIO(Scene("pump-room", 1).picture(SceneView()))))
    assert photo_of(whole, "t")
    with pytest.raises(Unusable, match="cut short"):
        photo_of(whole[: round(len(whole) * share)] + b"\xff\xd9", "t")


@pytest.mark.parametrize("grey", [0, 255])
def test_a_photo_may_be_black_or_white_below(grey: int) -> None:
    image = scene(1)
    ImageDraw.Draw(image).rectangle((0, 300, 640, 480), fill=(grey,) * 3)
    assert photo_of(jpeg(image), "t")


async def test_a_comment_makes_no_other_photo_of_it() -> None:
    kept = Kept()
    told = await kept.look(photo=base64.b64encode(jpeg(scene(1))).decode(), known={})
    again = base64.b64encode(jpeg(scene(1), comment=b"another")).decode()
    for mark in (told["mark"], f"{told['sha256'][:32]}:{told['mark']}"):  # as an older version kept it
        with pytest.raises(NotDone, match="before"):
            await kept.look(photo=again, known={"it": [mark]})


def by_hand(place: Scene, rng: random.Random) -> Image.Image:
    """A photo of a place: from a standpoint, at an hour and with people of its own."""
    size, view = (640, 360), replace(usual(rng, night=False), shake=(0, 0))
    whole = Image.open(BytesIO(place.picture(replace(view, size=(960, 540), quality=90))))
    turned = whole.rotate(rng.uniform(1, 4) * rng.choice((-1, 1)), Image.Resampling.BICUBIC)
    wide, way = 760 * rng.uniform(0.93, 1.07), rng.uniform(0, 2 * math.pi)
    high = wide * 9 / 16
    left, top = 480 - wide / 2 + 40 * math.cos(way), 270 - high / 2 + 40 * math.sin(way)
    return turned.crop((round(left), round(top), round(left + wide), round(top + high))).resize(size)


def copied(photo: Image.Image, rng: random.Random) -> Image.Image:
    """The same photo again, as somebody makes it who hopes that it is not known."""
    cut = [rng.randint(0, 5) for _ in range(4)]
    photo = photo.crop((cut[0], cut[1], photo.width - cut[2], photo.height - cut[3]))
    tone = rng.choice((ImageEnhance.Brightness, ImageEnhance.Contrast))
    photo = tone(photo).enhance(rng.uniform(0.4, 1.5))
    way = rng.choice([None, *Image.Transpose])
    photo = photo if way is None else photo.transpose(way)
    share = rng.uniform(0.4, 1.0)
    return photo.resize((round(photo.width * share), round(photo.height * share)))


def test_copies_are_known_again_and_honest_photos_of_a_place_are_not() -> None:
    rng = random.Random(20261201)  # noqa: S311 - pictures
    for kind in KINDS:
        for seed in range(3):
            place = Scene(kind, seed)
            photos = [by_hand(place, rng) for _ in range(4)]
            marks = [photo_of(jpeg(photo), "t").mark for photo in photos]
            for number, photo in enumerate(photos):
                assert not repeats(marks[number], marks[:number]), (kind, seed)
                again = photo_of(jpeg(copied(photo, rng), rng.randint(35, 90)), "t")
                assert repeats(again.mark, [marks[number]]), (kind, seed)
                assert repeats(photo_of(photo_of(jpeg(photo), "received 2026").jpeg, "t").mark, [marks[number]])


def test_a_year_of_photos_is_compared_in_no_time() -> None:
    marks = [photo_of(jpeg(scene(seed)), "t").mark for seed in range(8)] * 512
    began = time.process_time()
    assert not repeats(photo_of(jpeg(scene(99)), "t").mark, marks)
    assert time.process_time() - began < 1.0


def test_the_time_of_arrival_stands_in_the_photo() -> None:
    flat = Image.new("RGB", (640, 480), (90, 90, 90))
    ImageDraw.Draw(flat).rectangle((300, 0, 400, 479), fill=(120, 120, 120))
    with Image.open(BytesIO(photo_of(jpeg(flat), "received 2026").jpeg)) as made:
        corner = made.convert("L").crop((0, made.height - 24, 200, made.height))
        grey = corner.tobytes()
        assert min(grey) < 40
        assert max(grey) > 200


@pytest.mark.parametrize(
    "photo",
    [
        "", "%%%", "\u7167\u7247", base64.b64encode(b"").decode(), base64.b64encode(b"<html>\xff\xd8\xff").decode(),
        base64.b64encode(b"\xff\xd8\xff").decode(), base64.b64encode(jpeg(scene(1))[:3000]).decode(),
        base64.b64encode(b"\xff\xd8\xff" + bytes(MAX_PHOTO_BYTES)).decode(),
    ],
)  # fmt: skip
async def test_what_is_no_photo_is_refused(photo: str) -> None:
    kept = Kept()
    with pytest.raises(NotDone) as no:
        await kept.look(photo=photo, known={})
    assert no.value.code == "bad-args"
    assert kept.pictures == []


def test_a_bomb_is_refused() -> None:
    huge = jpeg(Image.new("L", (16000, 12000)), quality=1)
    with pytest.raises(Unusable, match="too large"):
        photo_of(huge, "t")


def test_the_tag_of_the_makers_note() -> None:
    reading = read_tag(f"https://example.com/?picc_data={PICC}&cmac={MAC}", KEY)
    assert (reading.uid.hex(), reading.counter) == ("04de5f1eacc040", 61)
    assert read_tag(f"{PICC} {MAC.lower()}", KEY) == reading


@pytest.mark.parametrize(
    ("tag", "key"),
    [
        (f"{PICC} {MAC[:-1]}7", KEY), (f"{PICC[:-1]}9 {MAC}", KEY), (f"{PICC} {MAC}", "11" * 16), (PICC, KEY),
        ("", KEY), (f"{PICC} {MAC}", "short"),
    ],
)  # fmt: skip
def test_a_tag_that_is_not_genuine(tag: str, key: str) -> None:
    with pytest.raises(NotDone):
        read_tag(tag, key)


async def test_presence() -> None:
    kept = Kept(room=PlaceProof("printed", SecretText("code-7\n")), pump=PlaceProof("ntag424", SecretText(KEY)))
    assert (await kept.look(tag="code-7", place="room"))["presence"] == "printed"
    with pytest.raises(NotDone):
        await kept.look(tag="code-8", place="room")
    told = await kept.look(tag=f"{PICC}&{MAC}", place="pump")
    assert (told["presence"], told["uid"], told["counter"]) == ("ntag424", "04de5f1eacc040", 61)
    assert (await kept.look(tag="x", place="nowhere"))["presence"] == "none"
    assert not is_code("", "code")
