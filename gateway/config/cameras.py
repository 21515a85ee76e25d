"""Cameras: plates and pictures."""

from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, StringConstraints, Tag, model_validator

from gateway.config.units import Host, Id, Secret, Strict, Text, WebUrl, by_shape, wrong

Way = Literal["in", "out"]


class ByCamera(Strict):
    """What the camera's own words for a direction mean here."""

    forward: Way
    reverse: Way


class Direction(Strict):
    """The camera tells the direction."""

    by_camera: ByCamera = Field(alias="by-camera")


class CameraEntry(Strict):
    """A plate camera, or one that only gives pictures (`mode` absent and no gate)."""

    driver: Literal["hikvision", "dahua", "vzenith", "platerecognizer", "gat1400", "uniview", "onvif", "generic"]
    mode: Literal["push", "pull"] | None = None
    """Who calls whom for plates; unwritten: push for a camera of a gate, else it gives pictures only."""
    gate: Id | None = None
    direction: Annotated[
        Annotated[Way, Tag("<word>")] | Annotated[Direction, Tag("<mapping>")] | Annotated[Way, Tag("<list>")],
        Discriminator(by_shape),
    ] = "in"
    address: Host
    """Pushes from any other address are refused; pictures are fetched here."""
    username: Text | None = None
    password: Secret | None = None
    token: Secret | None = None
    utc_offset: Annotated[str, StringConstraints(pattern=r"^[+-](0\d|1[0-4]):[0-5]\d$")] | None = None
    channel: Annotated[int, Field(ge=1, le=512)] | None = None
    """Of the recorder at this address, which pushes for several cameras; each has an entry of its own."""
    confidence: Literal["0-1", "0-100", "0-255"] | None = None
    """The scale of its confidence; None: learnt from what it sends."""
    snapshot: WebUrl | None = None
    """Where its picture is; None: the maker's own path."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.mode is None and self.gate is not None:
            object.__setattr__(self, "mode", "push")
        if self.gate is not None and "direction" not in self.model_fields_set:
            raise wrong(
                "found a gate without direction", "direction: in | out | {by-camera: {forward: in, reverse: out}}"
            )
        if self.driver == "generic" and self.snapshot is None and self.mode is None:
            raise wrong("found a generic camera without snapshot", "snapshot: http://HOST/PATH")
        return self
