"""Wraps a poller so that its bugs affect only its own line."""

import sys
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from gateway.driver import Block, Decoded, Poller, Proving, Showing, Timing, Tolerant, Yielding
from gateway.errors import ConfigError, DeviceRefused, DeviceSilent, LineDown
from gateway.model import Lane, Quality, Reason, Value

_LEAST, _MOST = -(2**63), 2**64 - 1
"""The range of integers that our JSON encoder can write."""
_LARGEST = sys.float_info.max

_P = ParamSpec("_P")
_T = TypeVar("_T")


class DriverBug(LineDown):
    """The driver raised an exception that drivers may not raise; see the cause. The line is treated as down."""


def _bug(error: Exception) -> DriverBug:
    return DriverBug(f"error in the driver: {type(error).__name__}: {error}")


class GuardedPoller:
    """Wraps a poller: every exception that it may not raise becomes DriverBug."""

    def __init__(self, poller: Poller) -> None:
        self._poller = poller
        # Asking a protocol is slow, and the page looks at every line each second.
        self._tolerant = poller if isinstance(poller, Tolerant) else None
        self.in_flight = max(1, poller.in_flight)
        self._yielding = poller if isinstance(poller, Yielding) and self.in_flight == 1 else None

    @property
    def latency(self) -> float:
        """See Poller."""
        return self._poller.latency

    @property
    def oddities(self) -> Mapping[str, int | str | None] | None:
        """See Tolerant; None for a poller that does not count."""
        poller = self._tolerant
        return None if poller is None else _call(lambda: poller.oddities)

    async def __aenter__(self) -> Self:
        try:
            await self._poller.__aenter__()
        except LineDown:
            raise
        except Exception as error:
            raise _bug(error) from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._poller.__aexit__(kind, error, trace)
        except Exception as bug:
            if error is None or isinstance(error, Exception):
                raise _bug(bug) from bug
            # A cancellation passes through even if the driver raises.

    async def read(self, block: Block, timeout: float) -> bytes:
        """See Poller."""
        try:
            return await self._poller.read(block, timeout)
        except (DeviceSilent, DeviceRefused, LineDown):
            raise
        except Exception as error:
            raise _bug(error) from error

    async def write(self, device: str, point: str, value: Value, timeout: float) -> None:
        """See Poller."""
        try:
            await self._poller.write(device, point, value, timeout)
        except (ConfigError, DeviceSilent, DeviceRefused, LineDown):
            raise
        except Exception as error:
            raise _bug(error) from error

    async def read_back(self, device: str, point: str, timeout: float) -> Decoded | None:
        """The point's value right after a write with a wrong reply; None: it cannot be read.

        Raises DeviceError, LineDown.
        """
        poller = self._poller
        try:
            blocks = poller.block_for(device, (point,), Lane.ORDER)
            if len(blocks) != 1:
                return None
            ask = poller.read_back if isinstance(poller, Proving) else poller.read
            return self._decode(blocks[0], await ask(blocks[0], timeout)).get(point)
        except (DeviceSilent, DeviceRefused, LineDown):
            raise
        except ConfigError:
            return None
        except Exception as error:
            raise _bug(error) from error

    def give_way(self, haste: float | None) -> None:
        """See Yielding; nothing for a poller that cannot, or with several requests under way."""
        if self._yielding is not None:
            _call(self._yielding.give_way, haste)

    def blocks(self) -> Sequence[Block]:
        """See Poller."""
        return _call(self._poller.blocks)

    def timing(self, device: str) -> Timing:
        """See Poller."""
        return _call(self._poller.timing, device)

    def decode(self, block: Block, raw: bytes) -> Mapping[str, Decoded]:
        """See Poller; a value that an event cannot hold becomes BAD, out of range."""
        return _call(self._decode, block, raw)

    def _decode(self, block: Block, raw: bytes) -> Mapping[str, Decoded]:
        decoded = self._poller.decode(block, raw)
        strange = []
        for point, new in decoded.items():
            value = new[0]
            if value.__class__ is float:
                if not -_LARGEST <= value <= _LARGEST:  # infinite or not a number
                    strange.append(point)
            elif value.__class__ is int:
                if not _LEAST <= value <= _MOST:
                    strange.append(point)
            elif value.__class__ is str:
                value.encode()  # raises if it is not valid text
        if not strange:
            return decoded
        bad = {point: Decoded(None, None, decoded[point].unit, Quality.BAD, Reason.OUT_OF_RANGE) for point in strange}
        return {**decoded, **bad}

    def registers(self, block: Block, raw: bytes) -> Mapping[str, int | str]:
        """See Showing; nothing for a poller that cannot."""
        return _call(self._poller.registers, block, raw) if isinstance(self._poller, Showing) else {}

    def narrow(self, block: Block) -> Sequence[Block]:
        """See Poller."""
        return _call(self._poller.narrow, block)

    def block_for(self, device: str, points: Sequence[str], lane: Lane) -> Sequence[Block]:
        """See Poller."""
        return _call(self._poller.block_for, device, points, lane)


def _call(method: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    try:
        return method(*args, **kwargs)
    except Exception as error:
        raise _bug(error) from error
