"""Sorts the parts of a push into texts, pictures and the rest. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from drivers.anpr.capture import NAMED, Picture, Role
from drivers.anpr.fields import image_type, is_image
from drivers.anpr.jsontree import in_utf8
from drivers.anpr.multipart import FormPart

FACES = ("face", "pilot", "driver", "person", "human", "body")
"""Words in the names of pictures of people, which are always refused (PIPL, art. 28: sensitive personal data)."""
PLATES = ("plate", "small", "crop", "cutout", "fragment")
SCENES = 2
_LARGEST_BYTES = 2 << 20


@dataclass(frozen=True, slots=True)
class Pieces:
    """The sorted parts of one push."""

    documents: tuple[bytes, ...]
    """XML and JSON texts."""
    fields: dict[str, bytes]
    """Other fields of a form, by label."""
    pictures: tuple[Picture, ...]
    refused: tuple[str, ...]
    """Labels of refused parts."""


def sort(parts: Iterable[FormPart]) -> Pieces:
    """Sort by content; names only distinguish plate, scene and face."""
    documents: list[bytes] = []
    fields: dict[str, bytes] = {}
    pictures: list[Picture] = []
    refused: list[str] = []
    for part in parts:
        label = part.label
        if is_picture(part):
            if is_person(label) or is_person(part.filename.lower()) or len(part.body) > _LARGEST_BYTES:
                refused.append(label[:40] or "picture")
            else:
                name = part.filename or part.name
                pictures.append(Picture(role_of(label), part.body, image_type(part.body), name))
        elif (document := in_utf8(part.body)).lstrip(b"\xef\xbb\xbf \r\n\t")[:1] in (b"<", b"{", b"["):
            documents.append(document)
        else:
            fields.setdefault(label, part.body[:1024])
    return Pieces(tuple(documents), fields, tuple(pictures), tuple(refused))


def is_picture(part: FormPart) -> bool:
    """True by its bytes, or by its type if the bytes are damaged."""
    if is_image(part.body):
        return True
    return bool(part.body) and part.content_type.startswith("image/")


def is_person(label: str) -> bool:
    """True if a picture with this name shows a person, not a plate or a scene."""
    return any(word in label for word in FACES)


def role_of(label: str) -> Role:
    """Plate or scene, by the name."""
    return "plate" if any(word in label for word in PLATES) else "scene"


def chosen(pictures: Iterable[Picture]) -> tuple[Picture, ...]:
    """Choose one plate and at most two scenes."""
    kept: list[Picture] = []
    for one in pictures:
        if sum(other.role == one.role for other in kept) < (1 if one.role == "plate" else SCENES):
            kept.append(one)
    return tuple(kept)


def named(refused: Iterable[str]) -> tuple[str, ...]:
    """As many names of refused parts as fit into a report."""
    return tuple(refused)[:NAMED]
