"""What a fire moves, what sounds in the guard room, and the box's own signals."""

from typing import Annotated, Literal, Self

from pydantic import Discriminator, Tag, model_validator

from gateway.config.units import Id, Many, Ref, Strict, by_shape, wrong


class LinkageEntry(Strict):
    """A rule: these zones, this trigger, these gates and outputs."""

    zones: Annotated[
        Annotated[Literal["any"], Tag("<word>")]
        | Annotated[Many[Id], Tag("<list>")]
        | Annotated[Literal["any"], Tag("<mapping>")],
        Discriminator(by_shape),
    ] = "any"
    trigger: Literal["two-devices", "any"] = "two-devices"
    """`two-devices`: GB 55036-2022, 12.0.11."""
    call_point: Literal["alone", "counts-as-one"] = "alone"
    button: Ref | None = None
    hold: Many[Id] = ()
    """Gates that are held open."""
    set: Many[Ref] = ()
    """Sounder or lamp outputs that are set."""

    @model_validator(mode="after")
    def _moves_something(self) -> Self:
        if not self.hold and not self.set:
            raise wrong("found neither hold nor set", "hold: [GATE], set: [DEVICE.POINT], or both")
        if self.zones == ():
            raise wrong("found no zone", "any, or a list of zones", "zones")
        return self


class AnnunciatorEntry(Strict):
    """Outputs that sound in the guard room, and the button that silences them."""

    fire: Ref | None = None
    fault: Ref | None = None
    silence: Ref | None = None


class Own(Strict):
    """The gateway's own signals: a relay held while it is healthy; its power."""

    alive: Ref | None = None
    mains: Ref | None = None
    battery: Ref | None = None
