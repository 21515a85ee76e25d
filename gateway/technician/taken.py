"""Checks whether another program on this machine uses a TCP device or owns its line.

Many serial servers and boards accept a single connection: a second one, or requests of another master between those of
the gateway, silences their devices. So a device is not asked directly while a gateway on this machine owns it.
"""

import ipaddress
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from gateway.config.lines import ModbusLine
from gateway.config.site import SiteFile
from gateway.config.units import endpoint
from gateway.errors import GatewayError, LineTaken, NotAnswering
from gateway.local.control import NAME, SERVICE_FOLDER, ask
from gateway.technician.ports import Trouble

_ESTABLISHED, _SYN_SENT = "01", "02"
"""include/net/tcp_states.h."""
_ASK_S = 1.0
_MOST_SOCKETS = 32
_TODO = "ask through it (site-gateway read, write, doctor with its site file), or stop it first"


def must_be_free(file: SiteFile, line: str) -> None:
    """Call before a line is asked directly. Raises LineTaken."""
    settings = file.lines[line]
    if isinstance(settings, ModbusLine) and settings.tcp is not None:
        found = trouble(settings.tcp)
        if found is not None:
            raise LineTaken(f"{found.what}; {found.todo}")


def trouble(target: str) -> Trouble | None:
    """Why `HOST:PORT` must not be asked now; None: nothing here uses it."""
    host, port = endpoint(target)
    addresses = _addresses(host, port)
    for path in _control_sockets():
        for told in _lines(path):
            if told is None or (told.get("tcp") and _same(str(told["tcp"]), addresses, port)):
                line = "" if told is None else f", as line {told['line']}"
                what = "may own" if told is None else "owns"
                return Trouble(f"{target}: a running gateway ({path}) {what} it{line}", _TODO)
    inode = next((inode for address, there, inode in _connections() if there == port and address in addresses), None)
    if inode is None:
        return None
    return Trouble(f"{target}: {_owner(inode)} of this machine is connected to it", _TODO)


def _same(target: str, addresses: set[str], port: int) -> bool:
    with suppress(ValueError):
        host, other = endpoint(target)
        return other == port and bool(_addresses(host, port) & addresses)
    return False


def _addresses(host: str, port: int) -> set[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return {host}
    return {_plain(ipaddress.ip_address(str(each[4][0]).partition("%")[0])) for each in found}


def _plain(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def _connections(proc: Path = Path("/proc/net")) -> Iterator[tuple[str, int, str]]:
    """The connections of this machine: address, port, inode of the socket (proc(5), /proc/net/tcp)."""
    for name in ("tcp", "tcp6"):
        try:
            rows = (proc / name).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for words in map(str.split, rows):
            if words[3] in (_ESTABLISHED, _SYN_SENT):
                address, _, port = words[2].partition(":")
                yield _address(address), int(port, 16), words[9]


def _address(text: str) -> str:
    """Decode an address of 32-bit words in the byte order of the machine."""
    words = [int(text[at : at + 8], 16) for at in range(0, len(text), 8)]
    order = "<" if sys.byteorder == "little" else ">"
    packed = struct.pack(f"{order}{len(words)}I", *words)
    return _plain(ipaddress.ip_address(packed))


def _owner(inode: str, proc: Path = Path("/proc")) -> str:
    for folder in proc.glob("[0-9]*"):
        with suppress(OSError):
            if any(str(each.readlink()) == f"socket:[{inode}]" for each in (folder / "fd").iterdir()):
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                return f"process {folder.name} ({words[:200]})"
    return "another program"


def _control_sockets(proc: Path = Path("/proc/net")) -> list[Path]:
    """The control sockets of gateways running here, from /proc/net/unix (proc(5))."""
    try:
        rows = (proc / "unix").read_text(encoding="utf-8", errors="replace").splitlines()[1:]
    except OSError:
        return []
    names = {words[7] for words in (row.split(maxsplit=7) for row in rows) if len(words) == 8}
    return [Path(name) for name in sorted(names) if name.endswith(f"/{NAME}")][:_MOST_SOCKETS]


def _lines(path: Path) -> list[dict[str, Any] | None]:
    """The lines of that gateway; None if it does not answer."""
    try:
        return cast("list[dict[str, Any] | None]", ask(path, {"ask": "lines"}, _ASK_S))
    except ConnectionError:
        return []
    except NotAnswering:  # anybody could leave another socket there
        return [None] if path == SERVICE_FOLDER / NAME else []
    except GatewayError:
        return []
