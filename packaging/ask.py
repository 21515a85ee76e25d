"""What the running daemon says of an upgrade; put before the two scripts that ask it. By the standard library."""

import json
import socket
import time

SOCKET = "/run/site-gateway/control.sock"
PATIENCE_S = 5


def ask(what):
    """The answer; empty if none comes in time."""
    end = time.monotonic() + PATIENCE_S
    said = b""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(PATIENCE_S)
            client.connect(SOCKET)
            client.sendall(json.dumps({"ask": what}).encode() + b"\n")
            while not said.endswith(b"\n") and len(said) < 65536:
                client.settimeout(max(end - time.monotonic(), 0.001))
                part = client.recv(4096)
                if not part or time.monotonic() > end:
                    return {}
                said += part
        answer = json.loads(said)
        return dict(answer["result"]) if answer["ok"] else {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
