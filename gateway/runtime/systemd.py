"""The service manager: sd_notify(3) and the watchdog, without a library."""

import os
import socket

_PATIENCE_S = 0.2


def notify(message: str) -> bool:
    """Tell systemd `READY=1`, `WATCHDOG=1`, `STATUS=…` (one assignment per line).

    True if it was sent. False if no service manager asked for it or receives it; never an error.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as door:
            door.settimeout(_PATIENCE_S)
            door.connect(address)
            door.sendall(message.encode())
    except (OSError, ValueError):
        return False
    return True


def watchdog_interval() -> float | None:
    """Seconds between two `WATCHDOG=1`: half of what systemd allows; None if it does not watch this process."""
    try:
        allowed = int(os.environ["WATCHDOG_USEC"])
        watched = int(os.environ.get("WATCHDOG_PID") or os.getpid())
    except (KeyError, ValueError):
        return None
    if allowed <= 0 or watched != os.getpid():
        return None
    return allowed / 2_000_000
