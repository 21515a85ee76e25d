"""The whole exception tree. Each name tells the caller what to do. Pure.

GatewayError
├── ConfigError          a person must correct the file or the settings; nothing was touched
├── LineTaken            another program of this machine uses it: nothing was sent; stop that, or ask through it
├── NotAnswering         a daemon runs but cannot be asked (unlike none running): tell the person
├── LineDown             the line cannot be used: close it, wait (back-off), open it again
├── DeviceError          one device did not answer as asked; the line is fine
│   ├── DeviceSilent     no valid answer in time: count a miss
│   │   └── GaveWay      an order went first: neither a miss nor an answer; ask again
│   └── DeviceRefused    it answered with an exception: `code` says which; do not ask the same again
├── StoreError           the journal cannot do what was asked: go on from memory, try again
│   ├── StoreNewer       the file was written by a newer version: stop, never touch it
│   ├── StoreBusy        another process has the folder: stop
│   ├── StoreFull        no space: shed by policy, then try again
│   ├── StoreDamaged     the file is damaged: set it aside, begin a new one
│   └── StoreGone        its files were deleted or replaced: save what is still open, begin a new one
├── UplinkDown           no connection to the broker: wait (back-off), connect again
└── NotDone              a request is refused: tell the caller; `code` is one of the contract
"""


class GatewayError(Exception):
    """Root of everything that this program raises on purpose."""


class ConfigError(GatewayError):
    """The settings are wrong; a person must correct them. Raised before any I/O."""


class LineDown(GatewayError):
    """The line itself cannot be used (port gone, connection refused or lost)."""


class LineTaken(GatewayError):
    """Another program of this machine uses the line; nothing was sent."""


class NotAnswering(GatewayError):
    """A daemon runs and cannot be asked: it is busy, or we may not."""


class DeviceError(GatewayError):
    """One device did not answer as asked; the line is fine."""


class DeviceSilent(DeviceError):
    """No valid answer within the time-out; `code`: the exception with which a converter reported this (10, 11)."""

    def __init__(self, detail: str = "", code: int | None = None) -> None:
        super().__init__(detail)
        self.code = code


class GaveWay(DeviceSilent):
    """An order went first. `sent`: the request had been sent, and the wait for its answer was cut short."""

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
    """A request is refused."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
