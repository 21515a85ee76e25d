"""Handles messages from the broker, and decides when to discard the session at the broker. Pure.

Only messages on `T/command` are commands. Every message is acknowledged, because one that we never accept would come
first on each connection and block all later ones. Dropped messages are counted and reported.

The session at the broker outlives a connection, and anybody who connected with our client id could leave a
subscription or a message in it (even of QoS 2, which we never subscribe). So the next connection begins with a clean
session after a message on a topic that we never subscribed, or after two consecutive connections that ended because the
broker's bytes could not be parsed. Nothing of ours is lost, because our rows are in the journal.
"""

from collections import Counter

from gateway.cloud.mqtt.types import CommandDesk, Ending, MessageEnvelope

FOREIGN, UNREADABLE, CROWDED, GARBLED = "foreign", "unreadable", "crowded", "garbled"

_TOLD_FOR_S = 600.0
_TEXTS = {
    FOREIGN: "messages came on topics that this gateway never subscribed: another client has used its client id",
    UNREADABLE: "messages came whose topic is no text",
    CROWDED: "more commands came than can wait",
    GARBLED: "the broker kept for us what could not be understood: its session was begun anew",
}


class Intake:
    """Passes messages on `topic` to `desk`; without a desk they are only acknowledged."""

    def __init__(self, topic: str, desk: CommandDesk | None) -> None:
        self.dropped: Counter[str] = Counter()
        """Messages that were dropped since the start, by reason; `garbled`: sessions discarded because of one."""
        self._topic = topic
        self._desk = desk
        self.trouble = ""
        """What is wrong; empty: nothing, or nothing recent."""
        self._dropped_at: float | None = None
        self._garbled = 0
        self._clean_next = False
        self._clean_now = False

    def begin(self) -> bool:
        """A connection begins. True: ask the broker for a clean session."""
        self._clean_now, self._clean_next = self._clean_next, False
        return self._clean_now

    def arrived(self, topic: str | None, payload: bytes, envelope: MessageEnvelope, now: float) -> bool:
        """Take a message. False: the session contains something that is not ours, so end the connection."""
        if topic == self._topic:
            if self._desk is None:
                envelope.acknowledge()
            elif not self._desk.arrived(topic, payload, envelope):
                self._drop(CROWDED, envelope, now)
            return True
        self._drop(UNREADABLE if topic is None else FOREIGN, envelope, now)
        # In a new session the broker itself sends this, so another clean session would not help.
        if self._clean_now:
            return True
        self._clean_next = True
        return False

    def ended(self, ending: Ending, now: float, *, accepted: bool) -> None:
        """The connection has ended. `accepted`: the broker had accepted it, and with it a wish for a clean session."""
        if not accepted:
            self._clean_next = self._clean_next or self._clean_now
        if accepted or ending.garbled:
            self._garbled = self._garbled + 1 if ending.garbled else 0
        if self._garbled >= 2 and not self._clean_now:
            self._clean_next = True
            self._note(GARBLED, now)

    def look(self, now: float) -> None:
        """Call from time to time: clears trouble that is long past."""
        if self._dropped_at is not None and now - self._dropped_at >= _TOLD_FOR_S:
            self._dropped_at = None
            self.trouble = ""

    def _drop(self, why: str, envelope: MessageEnvelope, now: float) -> None:
        self._note(why, now)
        envelope.acknowledge()

    def _note(self, why: str, now: float) -> None:
        self.dropped[why] += 1
        if self._dropped_at is None:
            self.trouble = _TEXTS[why]
        self._dropped_at = now
