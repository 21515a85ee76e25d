"""Gates: which output opens one, which inputs tell what it does."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from gateway.config.units import Id, Period, Ref, Strict, Text, by_shape


class CameraRelay(Strict):
    """The relay of a camera."""

    camera: Id
    io: int = Field(ge=0, le=15)


class Repeat(Strict):
    """A board that takes only an edge: the hold is given again and again."""

    repeat: Period


class GateEntry(Strict):
    """A barrier or door. `open` is pulsed, `hold` is maintained."""

    name: Text | None = None
    kind: Literal["barrier", "door", "sliding", "swing"] = "barrier"
    open: Annotated[
        Annotated[Ref, Tag("<word>")] | Annotated[CameraRelay, Tag("<mapping>")] | Annotated[Ref, Tag("<list>")],
        Discriminator(by_shape),
    ]
    pulse: Period = 0.5
    hold: Ref | None = None
    """Maintained output; None: `open` is held."""
    hold_by: Annotated[
        Annotated[Literal["level"], Tag("<word>")]
        | Annotated[Repeat, Tag("<mapping>")]
        | Annotated[Literal["level"], Tag("<list>")],
        Discriminator(by_shape),
    ] = "level"
    arm: Ref | None = None
    """Feedback, true = up."""
    clear: Ref | None = None
    """True = nobody under it."""
    opens_within: Period = 5.0
    on_loss: Literal["keep", "open"] | None = None
    """What the output does if the gateway dies; written for every gate of a linkage."""
    zone: Id | None = None

    def refs(self) -> dict[str, str]:
        """Key -> point, of every point it uses."""
        used: dict[str, Any] = {"open": self.open, "hold": self.hold, "arm": self.arm, "clear": self.clear}
        return {key: ref for key, ref in used.items() if isinstance(ref, str)}
