"""What makers' cameras have in common, and where they differ: `Maker`, overridden by one module for each."""

import json
from collections.abc import Iterable
from typing import Any, ClassVar

from simulators.cameras.model import CameraSetup, CarSight, Post, PushAnswer, RelayOrder

JSON = "application/json"


class Maker:
    """A camera's firmware. One object for each camera; it only makes payloads and judges answers."""

    fixed_paths: ClassVar[bool] = False
    """The firmware knows only its own paths; otherwise it posts to whatever URL it is told."""
    keeps_connection: ClassVar[bool] = False
    marks_history: ClassVar[bool] = False
    """Records out of its memory carry a mark."""
    interrupts: ClassVar[bool] = False
    """A live capture breaks into the replay of its memory: the record on its way is sent again."""
    must_register: ClassVar[bool] = False
    """Sends nothing before its registration was accepted."""
    timeout: ClassVar[float] = 5.0
    retry: ClassVar[float] = 2.0
    retries: ClassVar[int | None] = 3
    """None: without end."""
    heartbeat: ClassVar[float | None] = 30.0
    reconnect: ClassVar[float] = 1.0
    """Between two heart-beats while nobody answers."""
    memory: ClassVar[int] = 1000
    answers_queries: ClassVar[bool] = False
    """What nobody followed can be asked for later."""
    snapshots: ClassVar[tuple[str, ...]] = ()
    """Paths of its picture, without queries."""

    def __init__(self, setup: CameraSetup) -> None:
        self.setup = setup

    def push(self, sight: CarSight, *, history: bool, opened: bool) -> Post:
        """The capture; `history`: out of the memory; `opened`: the camera let the car in by itself.

        Raises ValueError for a camera that tells of no plates.
        """
        del sight, history, opened
        # Not abstract: a camera that gives pictures only has no push, and showing it a car is the caller's mistake.
        raise ValueError(f"{type(self).__name__} gives pictures only: it tells of no car")

    def alive(self) -> Post | None:
        """The heart-beat."""
        return None

    def registration(self) -> Post | None:
        """What it says once, at the beginning and after it was cut off."""
        return None

    def is_right(self, post: Post, status: int, body: bytes) -> bool:
        """The answer is what it waits for; any other makes it send again."""
        del post, body
        return 200 <= status < 300

    def orders(self, answer: PushAnswer) -> Iterable[RelayOrder]:
        """What a right answer tells its relay."""
        del answer
        return ()

    def raw(self, plate: str | None) -> str | None:
        """The plate as this maker writes it."""
        return plate


def parsed(body: bytes) -> Any:
    """The JSON of an answer; None if it is none."""
    try:
        return json.loads(body)
    except ValueError:
        return None


def form(boundary: str, parts: Iterable[tuple[str, str | None, str | None, bytes]]) -> bytes:
    """multipart/form-data (RFC 7578) of (name, file name, content type, body), each with its length."""
    pieces: list[bytes] = []
    for name, filename, content_type, body in parts:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"'
        head += "" if filename is None else f'; filename="{filename}"'
        head += "" if content_type is None else f"\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}"
        pieces += [head.encode(), b"\r\n\r\n", body, b"\r\n"]
    return b"".join((*pieces, f"--{boundary}--\r\n".encode()))
