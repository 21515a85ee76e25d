"""Makes the first site file of a box from a few answers and the devices found on the line."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from gateway.config.load import load
from gateway.config.site import TimeZone
from gateway.config.units import Address, BrokerUrl, Id, Text
from gateway.technician import ports
from gateway.technician.scan import Shown
from gateway.technician.search import Search, wanted

_HEAD = """\
# The first site file of this box. What is wrong with it: site-gateway check {file}
# Every key: docs/site-file.md. How fast a fire is seen with it: site-gateway plan {file}
version: 1
site: {{id: {site}, name: {name}, timezone: {timezone}}}
gateway: {gateway}

uplink:
  url: {broker}
  # username: {gateway}
  # password: {{file: mqtt.pass}}        # a secret never stands in this file

"""
_STORE = """
store: {path: /var/lib/site-gateway, max_size: 512MiB}
"""
_PAGE = """
http:
  status:
    listen: 127.0.0.1:8081               # off this machine only with tls: {cert: page.crt, key: page.key}
    # users: {zhang: {role: guard, password: {file: zhang.pass}}}      # site-gateway passwd zhang.pass
"""
_MORE = """
# zones: {building-3: {name: 3号楼}}
# gates: {north-in: {name: 北门, open: DEVICE.POINT, on_loss: keep}}
# linkage: {evacuation: {zones: any, trigger: two-devices, hold: [north-in]}}
"""


_ANSWERS: dict[str, tuple[Any, str]] = {
    "site": (Id, "small letters, digits and -, such as xima-xincun"),
    "gateway": (Id, "small letters, digits and -, such as xmxc-01"),
    "name": (Text, "1-200 characters"),
    "timezone": (TimeZone, ""),
    "broker": (BrokerUrl, ""),
    "tcp": (Address, ""),
}
"""What the site file accepts for each answer, and a text about it; empty: use the text of the site file's own check."""


class BoxAnswers(NamedTuple):
    """The answers about the box."""

    site: str
    name: str
    timezone: str
    gateway: str
    broker: str
    serial: str | None
    tcp: str | None
    page: bool


def mistake(name: str, answer: str) -> str | None:
    """Why the site file does not accept this answer, as text for people; None: it does."""
    kind, expected = _ANSWERS[name]
    try:
        TypeAdapter(kind).validate_python(answer)
    except ValidationError as error:
        return expected or error.errors()[0]["msg"].removeprefix("Value error, ")
    return None


def serial_ports() -> list[str]:
    """The serial ports of this machine, by stable names."""
    return ports.ports()


def look(answers: BoxAnswers, units: str, shown: Shown) -> str:
    """The devices on the line as a piece of a site file; empty if none answers. Raises ValueError, for people."""
    target, settings, numbers = wanted(answers.serial, answers.tcp, units, None, None, None)
    search = Search(target, settings, numbers, everything=False, shown=shown)
    failed, _ = search.run()
    for line in failed:
        shown.say(line)
    return search.fragment() if search.found else ""


def text(answers: BoxAnswers, found: str) -> str:
    """The text of the file. Without `found` it has a line and one device that has to be replaced."""
    head = _HEAD.format(
        file="site.yaml",
        site=_quoted(answers.site),
        name=_quoted(answers.name or answers.site),
        timezone=_quoted(answers.timezone),
        gateway=_quoted(answers.gateway),
        broker=_quoted(answers.broker),
    )
    return head + (found or _nobody(answers)) + _MORE + _STORE + (_PAGE if answers.page else "")


def problems(text: str, out: Path) -> list[str]:
    """What `check` says about it."""
    with TemporaryDirectory() as folder:
        draft = Path(folder) / "site.yaml"
        draft.write_text(text, encoding="utf-8")
        return [str(problem).replace(str(draft), str(out)) for problem in load(draft).problems]


def _nobody(answers: BoxAnswers) -> str:
    if answers.serial is not None:
        line = f"serial: {_quoted(ports.steady_name(answers.serial))}, baudrate: 9600, parity: none, stopbits: 1"
    else:
        line = f"tcp: {_quoted(str(answers.tcp))}"
    return (
        "# Nobody was found on the line: site-gateway scan looks again, and prints what belongs here.\n"
        f"lines:\n  bus: {{driver: modbus, {line}}}\n"
        "devices:\n  unit-1: {line: bus, unit: 1, points: {holding-0: {at: holding 0}}}      # to be replaced\n"
    )


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
