"""XML of cameras: no document types, no entities, limited size and depth; names without namespace. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

from drivers.anpr.capture import Unreadable
from drivers.anpr.jsontree import decode

MAX_BYTES = 1 << 20
ELEMENTS = 5_000
DEPTH = 32
_DECLARED = re.compile(rb"""^\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["'][^>]{0,100}\?>""")
_PROLOG = re.compile(r"^\s*<\?xml[^>]{0,300}\?>")
_LOOSE = re.compile(r"&(?!(?:amp|lt|gt|quot|apos|#\d{1,7}|#x[0-9a-fA-F]{1,6});)")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


@dataclass(slots=True)
class Node:
    """An element: its name without a prefix, its text, its children."""

    name: str
    text: str = ""
    children: list["Node"] = field(default_factory=list)

    def named(self, *names: str) -> Iterator["Node"]:
        """This element and every element below with one of the names, in any case, in document order."""
        wanted = {name.lower() for name in names}
        waiting = [self]
        while waiting:
            node = waiting.pop()
            if node.name.lower() in wanted:
                yield node
            waiting += reversed(node.children)

    def texts(self) -> dict[str, str]:
        """Child name in lower case -> its text, if any; the first of a name counts."""
        found: dict[str, str] = {}
        for one in self.children:
            if one.text:
                found.setdefault(one.name.lower(), one.text)
        return found


def parse(data: bytes) -> Node:
    """Parse the root element. Raises Unreadable: not XML, a document type, an entity, too large, too deep."""
    signs = data.count(b"<") + data.count(b"&") + (data.count(b'"') + data.count(b"'")) // 2
    if len(data) > MAX_BYTES or signs > 2 * ELEMENTS:
        raise Unreadable("XML too large")
    text = _text(data.strip(b"\x00\r\n\t \xef\xbb\xbf"))
    try:
        return _build(text)
    except expat.ExpatError:
        mended = _LOOSE.sub("&amp;", _CONTROL.sub(" ", text))
    try:
        return _build(mended)
    except expat.ExpatError as error:
        raise Unreadable("no XML") from error


def _text(data: bytes) -> str:
    """Decode by the XML declaration, if that is correct, and remove the declaration."""
    declared = _DECLARED.match(data)
    name = declared[1].decode("ascii").lower() if declared else "utf-8"
    if name.startswith("gb"):
        text = data.decode("gb18030", "replace")
    elif name in ("iso-8859-1", "latin1", "windows-1252", "big5"):
        text = data.decode(name, "replace")
    else:
        text = decode(data)
    return _PROLOG.sub("", text, count=1)


class _Builder:
    """The handler of expat's calls."""

    def __init__(self) -> None:
        self.root = Node("")
        self.open = [self.root]
        self.count = 0
        self.texts: list[list[str]] = [[]]
        """The pieces of text of each open element."""

    def start(self, name: str, _attributes: list[str]) -> None:
        self.count += 1
        if self.count > ELEMENTS or len(self.open) > DEPTH:
            raise Unreadable("XML too large or too deep")
        node = Node(name.rpartition(":")[2])
        self.open[-1].children.append(node)
        self.open.append(node)
        self.texts.append([])

    def end(self, _name: str) -> None:
        self.open.pop().text = "".join(self.texts.pop()).strip()

    def data(self, text: str) -> None:
        self.texts[-1].append(text)


def _refuse(*_: object) -> None:
    raise Unreadable("XML with a document type or an entity")


def _build(text: str) -> Node:
    builder = _Builder()
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.ordered_attributes = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    parser.Parse(text.encode("utf-8", "replace"), True)
    if not builder.root.children:
        raise Unreadable("XML without an element")
    return builder.root.children[0]
