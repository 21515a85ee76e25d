"""An inbox of tests: whoever is handed something overrides what it wants to see."""

from gateway.model import Input, Passage


class ShutInbox:
    """Nothing is expected to be handed in."""

    async def put(self, item: Input) -> None:
        raise AssertionError(item)

    def remind(self, item: Input) -> None:
        raise AssertionError(item)

    async def hand_in(self, passage: Passage) -> None:
        raise AssertionError(passage)
