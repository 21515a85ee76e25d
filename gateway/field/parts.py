"""A block that its device refuses is read in parts, and as a whole again once the device has changed its mind."""

from gateway.driver import Block
from gateway.field.device import NARROW, Device
from gateway.field.guard import Guarded
from gateway.field.schedule import Schedule
from gateway.model import Instant


def split(device: Device, block: Block, poller: Guarded, schedule: Schedule, at: Instant) -> int:
    """The device refused it: how many parts take its place, 0 if it has none. That is remembered."""
    parts = poller.narrow(block)
    if not parts:
        return 0
    schedule.replace(block, parts, at.mono)
    device.table.replace(block, parts)
    return len(parts)


def reunite(device: Device, block: Block, schedule: Schedule, at: Instant) -> None:
    """It answers what it has refused: the refusal was of the moment (it had just started), so were the others.

    Without that a device would be read point by point for ever because of one moment.
    """
    was_narrow = device.barred.pop(block) in NARROW
    for other in device.barred:
        schedule.hasten(other, at.mono)
    if not was_narrow:
        return
    device.barred.clear()
    if list(schedule.blocks(device.name)) != list(device.blocks):
        schedule.renew(device.name, device.blocks, at.mono)
        device.table.renew(device.blocks)
