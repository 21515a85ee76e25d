"""What becomes of the messages that the broker sends, and when the session at the broker is given up. Pure.

Only what comes on `T/command` is a command. Everything is acknowledged: a message that the broker keeps for us and that
we never take would come first on each connection and stop all behind it. What is dropped is counted and told.

The session at the broker outlives a connection, and anybody who has connected with our client id could leave a
subscription or a message in it (of QoS 2, which we never subscribe, too). So the next connection begins with a clean
session after a message on a topic that we never subscribed, and after the second connection in a row that ended because
the broker's bytes could not be understood. Nothing of ours is lost by it: our rows are in the journal.
"""

from collections import Counter

from gateway.cloud.mqtt.types import CommandDesk, Delivery, Ending

FOREIGN, UNREADABLE, CROWDED, GARBLED = "foreign", "unreadable", "crowded", "garbled"

_TOLD_FOR_S = 600.0
_TEXTS = {
    FOREIGN: "messages came on topics that this gateway never subscribed: another client has used its client id",
    UNREADABLE: "messages came whose topic is no text",
    CROWDED: "more commands came than can wait",
    GARBLED: "the broker kept for us what could not be understood: its session was begun anew",
}


class Intake:
    """What comes on `topic` goes to `desk`; without one it is acknowledged and left."""

    def __init__(self, topic: str, desk: CommandDesk | None) -> None:
        self.dropped: Counter[str] = Counter()
        """Messages that were not taken, by reason, since the start; `garbled`: sessions that were given up for one."""
        self._topic = topic
        self._desk = desk
        self.trouble = ""
        """What is wrong; empty: nothing, or it is long ago."""
        self._dropped_at: float | None = None
        self._garbled = 0
        self._clean_next = False
        self._clean_now = False

    def begin(self) -> bool:
        """A connection is begun; True: the broker is to forget the session."""
        self._clean_now, self._clean_next = self._clean_next, False
        return self._clean_now

    def arrived(self, topic: str | None, payload: bytes, delivery: Delivery, now: float) -> bool:
        """A message came. False: the session holds what is not ours, end the connection (monotonic `now`)."""
        if topic == self._topic:
            if self._desk is None:
                delivery.acknowledge()
            elif not self._desk.arrived(topic, payload, delivery):
                self._drop(CROWDED, delivery, now)
            return True
        self._drop(UNREADABLE if topic is None else FOREIGN, delivery, now)
        # In a session that has just begun it is the broker that sends this, so beginning again would not help.
        if self._clean_now:
            return True
        self._clean_next = True
        return False

    def ended(self, ending: Ending, now: float, *, accepted: bool) -> None:
        """The connection is over. `accepted`: the broker had taken it, so it knows whether to forget the session."""
        if not accepted:
            self._clean_next = self._clean_next or self._clean_now
        if accepted or ending.garbled:
            self._garbled = self._garbled + 1 if ending.garbled else 0
        if self._garbled >= 2 and not self._clean_now:
            self._clean_next = True
            self._note(GARBLED, now)

    def look(self, now: float) -> None:
        """To be called now and then: what was long ago is no trouble any more."""
        if self._dropped_at is not None and now - self._dropped_at >= _TOLD_FOR_S:
            self._dropped_at = None
            self.trouble = ""

    def _drop(self, why: str, delivery: Delivery, now: float) -> None:
        self._note(why, now)
        delivery.acknowledge()

    def _note(self, why: str, now: float) -> None:
        self.dropped[why] += 1
        if self._dropped_at is None:
            self.trouble = _TEXTS[why]
        self._dropped_at = now
