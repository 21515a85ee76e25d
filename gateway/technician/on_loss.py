"""What the outputs of gates do if the gateway falls silent, as read from their modules. Writes nothing."""

from collections.abc import Collection, Iterator, Mapping

from gateway.config.site import SiteFile
from gateway.errors import GatewayError
from gateway.model import Value
from gateway.runtime.on_loss import wanted
from gateway.settings.loss_uses import losses
from gateway.settings.types import OnLoss, safe_name, watchdog_name
from gateway.technician.points import read_points
from gateway.technician.wiring_faults import Sign

_TRY = "stop the gateway and look at each output"


def outputs(file: SiteFile, *, runs: bool, dead: Collection[str] = ()) -> Iterator[Sign]:
    """A finding for each gate whose module can be asked, and one for all others.

    `runs`: the gateway runs; `dead`: lines that are reported already and not asked.
    """

    def asked(each: Iterator[OnLoss]) -> list[OnLoss]:
        return [one for one in each if file.devices[one.output.device].line not in dead]

    opening, keeping = asked(losses(file)), asked(losses(file, "keep"))
    for one in opening:
        yield _opens(one, _read(file, one), runs=runs)
    for one in keeping:
        yield _keeps(one, _read(file, one))
    rest = file.gates.keys() - {one.gate for one in (*opening, *keeping)}
    if rest:
        what = f"what the outputs of {', '.join(sorted(rest))} do when the gateway falls silent cannot be asked"
        yield Sign("gates", "doubt", what, _TRY)


def _opens(one: OnLoss, read: Mapping[str, Value | None] | str, *, runs: bool) -> Sign:
    about, output = f"gate {one.gate}", ".".join(one.output)
    if isinstance(read, str):
        return Sign(about, "wrong", f"the module of {output} does not say what it would do: {read}", _TRY)
    wrong = [name for name, value in wanted(one).items() if read.get(name) != value]
    if not wrong:
        return Sign(about, "good", f"{output} goes on {one.after:g} s after the gateway falls silent")
    what = f"{output} would not go on if the gateway fell silent: " + ", ".join(
        f"{name} holds {read.get(name)}, not {wanted(one)[name]}" for name in wrong
    )
    if not runs:
        return Sign(about, "doubt", what, "the gateway tells the module when it runs; ask again then")
    return Sign(about, "wrong", what, "compare `loss` with the module's manual; its log says what was refused")


def _keeps(one: OnLoss, read: Mapping[str, Value | None] | str) -> Sign:
    about, output = f"gate {one.gate}", ".".join(one.output)
    if isinstance(read, str):
        return Sign(about, "doubt", f"the module of {output} does not say what it would do: {read}", _TRY)
    if not read.get(watchdog_name(one.output.point)):
        return Sign(about, "good", f"{output} stays as it is when the gateway falls silent: the watchdog is off")
    goes = "on" if read.get(safe_name(one.output.point)) == one.safe else "off"
    what = f"{output} goes {goes} when the gateway falls silent: the module's watchdog is on, and `on_loss` is keep"
    return Sign(about, "wrong", what, "switch the watchdog off with the maker's tool, or `on_loss: open`")


def _read(file: SiteFile, one: OnLoss) -> Mapping[str, Value | None] | str:
    """The values of both settings, or why they are not known."""
    try:
        told = read_points(file, one.output.device, [*wanted(one)])
    except GatewayError as error:
        return str(error)
    refused = [name for name, reading in told.items() if reading["reason"] == "refused"]
    if refused:
        return f"it refused {', '.join(refused)}"
    return {name: reading["value"] for name, reading in told.items()}
