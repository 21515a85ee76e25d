"""How a round of the running gateway ended, as the cloud has it."""

from typing import Any

from simulators.cloud import Event
from tests.contract.judge import faults
from tests.end_to_end.compound import Compound


async def ended(it: Compound, run: str, within: float = 60.0) -> dict[str, Any]:
    """The data of a finished run, as the cloud has it."""
    found: list[Event] = []

    def there(seen: Any) -> bool:
        found[:] = [
            one for one in seen.events
            if one["type"].endswith("inspection.finished.v1") and one["data"]["run"] == run
        ]  # fmt: skip
        return bool(found)

    await it.cloud.until(there, within)
    assert faults(found[0]) == []
    return dict(found[0]["data"])


def outcomes(data: dict[str, Any]) -> dict[str, tuple[str, str | None]]:
    return {one["item"]: (one["outcome"], one.get("reason")) for one in data["items"]}
