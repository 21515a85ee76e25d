"""The whole exception tree. Each name tells the caller what to do. Pure.

GatewayError
├── ConfigError          a person must mend the file or the settings; nothing was touched
├── LineTaken            another program of this machine has it: nothing was sent; stop that, or ask through it
├── NotAnswering         a daemon runs and cannot be asked: not the same as that none runs; tell the person
├── LineDown             the line cannot be used: close it, wait (back-off), open it again
├── DeviceError          one device did not give what was asked; the line is fine
│   ├── DeviceSilent     no valid answer in time: count a miss
│   │   └── GaveWay      an order went first: neither a miss nor an answer; ask again
│   └── DeviceRefused    it answered with an exception: `code` says which; do not ask the same again
├── StoreError           the journal cannot do what was asked: go on from memory, try again
│   ├── StoreNewer       the file was written by a newer version: stop, never touch it
│   ├── StoreBusy        another process has the folder: stop
│   ├── StoreFull        no room: shed by policy, then try again
│   ├── StoreDamaged     the file is not sound: set it aside, begin a new one
│   └── StoreGone        its files were deleted or replaced: save what is still open, begin a new one
├── UplinkDown           no connection to the broker: wait (back-off), connect again
└── NotDone              what was asked is refused: tell whoever asked; `code` is one of the contract
"""


class GatewayError(Exception):
    """Root of everything that this program raises on purpose."""


class ConfigError(GatewayError):
    """The settings are wrong; a person must mend them. Raised before any I/O."""


class LineDown(GatewayError):
    """The line itself cannot be used (port gone, connection refused or lost)."""


class LineTaken(GatewayError):
    """Another program of this machine has the line; nothing was sent."""


class NotAnswering(GatewayError):
    """A daemon runs and cannot be asked: it is busy, or we may not."""


class DeviceError(GatewayError):
    """One device did not give what was asked; the line is fine."""


class DeviceSilent(DeviceError):
    """No valid answer within the time-out; `code`: the exception by which a converter said so for it (10, 11)."""

    def __init__(self, detail: str = "", code: int | None = None) -> None:
        super().__init__(detail)
        self.code = code


class GaveWay(DeviceSilent):
    """An order went first. `sent`: the request had been sent, and its answer was not waited for to the end."""

    def __init__(self, *, sent: bool) -> None:
        super().__init__("an order went first")
        self.sent = sent


class DeviceRefused(DeviceError):
    """The device answered with a Modbus exception (MODBUS Application Protocol V1.1b3, 7)."""

    def __init__(self, code: int, detail: str = "") -> None:
        super().__init__(detail or f"exception {code}")
        self.code = code


class StoreError(GatewayError):
    """The journal cannot do what was asked."""


class StoreNewer(StoreError):
    """The journal was written by a newer version of this program."""


class StoreBusy(StoreError):
    """Another process uses the folder; two writers could corrupt the file."""


class StoreFull(StoreError):
    """There is no room left, on the disk or within `max_size`."""


class StoreDamaged(StoreError):
    """The file is not a sound journal."""


class StoreGone(StoreError):
    """The files were deleted or replaced while they were in use."""


class UplinkDown(GatewayError):
    """There is no usable connection to the broker."""


class NotDone(GatewayError):
    """What somebody asked for is refused."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
