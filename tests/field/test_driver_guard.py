import asyncio
from collections.abc import Callable, Mapping
from types import TracebackType

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.driver import Block, Decoded, Timing
from gateway.errors import DeviceRefused, DeviceSilent, LineDown
from gateway.field.driver_guard import DriverBug, GuardedPoller
from gateway.model import Lane, Quality, Reason, Value
from tests.field.wire import Thing, Wire

BLOCK = Block("d", ("p",), Lane.NORMAL, 1.0, 0.0, None)


def wire() -> Wire:
    return Wire({"d": Thing({"p": 1})}, [BLOCK], timing=Timing(floor=0.01, ceiling=0.01))


class Leaky(Wire):
    """Raises when it is closed, which no driver may."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        raise ValueError("closed twice")


async def test_the_answers_pass_and_so_do_the_errors_that_a_driver_may_raise() -> None:
    poller = wire()
    guarded = GuardedPoller(poller)
    async with guarded:
        raw = await guarded.read(BLOCK, 1.0)
        assert guarded.decode(BLOCK, raw)["p"].value == 1
        poller.things["d"].refuses = {"p": 2}
        with pytest.raises(DeviceRefused):
            await guarded.read(BLOCK, 1.0)
        poller.things["d"].silent = True
        with pytest.raises(DeviceSilent):
            await guarded.write("d", "p", 1, 0.01)
        poller.cut = True
        with pytest.raises(LineDown) as lost:
            await guarded.read(BLOCK, 1.0)
        assert not isinstance(lost.value, DriverBug)


def test_a_bug_in_a_plain_method_is_told_from_our_own() -> None:
    guarded = GuardedPoller(wire())
    stranger = Block("d", ("p",) * 3, Lane.NORMAL, 1.0, 0.0, None)
    calls: list[Callable[[], object]] = [
        lambda: guarded.decode(stranger, None),  # type: ignore[arg-type]
        lambda: guarded.narrow(None),  # type: ignore[arg-type]
        lambda: guarded.block_for("d", None, Lane.ORDER),  # type: ignore[arg-type]
    ]
    for call in calls:
        with pytest.raises(DriverBug) as bug:
            call()
        assert isinstance(bug.value.__cause__, TypeError | AttributeError)


async def test_a_bug_on_the_wire_names_itself() -> None:
    poller = wire()
    poller.bug = OSError(5, "input/output error")
    with pytest.raises(DriverBug, match="OSError"):
        await GuardedPoller(poller).read(BLOCK, 1.0)
    with pytest.raises(DriverBug, match="OSError"):
        await GuardedPoller(poller).write("d", "p", 1, 1.0)


async def test_a_bug_while_closing_is_a_bug_but_never_hides_a_cancellation() -> None:
    leaky = Leaky({}, [], timing=Timing(floor=0.01, ceiling=0.01))
    with pytest.raises(DriverBug, match="closed twice"):
        async with GuardedPoller(leaky):
            pass
    with pytest.raises(asyncio.CancelledError):
        async with GuardedPoller(leaky):
            raise asyncio.CancelledError


class Wild(Wire):
    """Decodes to whatever it was told to."""

    decoded: dict[str, Decoded]

    def decode(self, block: Block, raw: bytes) -> dict[str, Decoded]:
        del block, raw
        return self.decoded


WILD = st.one_of(
    st.integers(), st.floats(), st.text(), st.none(), st.booleans(), st.sampled_from((2**64, -(2**63) - 1, "\ud800"))
)


@given(values=st.dictionaries(st.text(min_size=1), WILD))
def test_whatever_a_driver_makes_of_bytes_can_be_told_or_is_its_own_trouble(values: Mapping[str, Value]) -> None:
    poller = Wild({"d": Thing({"p": 1})}, [BLOCK], timing=Timing(floor=0.01, ceiling=0.01))
    poller.decoded = {point: Decoded(value, None, "V", Quality.GOOD, None) for point, value in values.items()}
    guarded = GuardedPoller(poller)
    try:
        decoded = guarded.decode(BLOCK, b"")
    except DriverBug:
        assert "\ud800" in values.values() or any("\ud800" <= c <= "\udfff" for c in "".join(values))
        return
    assert decoded.keys() == values.keys()
    for point, new in decoded.items():
        if new.quality is Quality.GOOD:
            assert orjson.loads(orjson.dumps(new.value)) == new.value
        else:
            assert (new.value, new.unit, new.reason) == (None, "V", Reason.OUT_OF_RANGE)
            assert isinstance(values[point], int | float)
