"""The maintainer scripts: shell, with parts in Python that lie beside this file."""

import re
from pathlib import Path

_PART = re.compile("^#PART (.+)#\n", re.MULTILINE)


def whole(script: Path) -> str:
    """A script with the parts that its lines `#PART FILE#` name."""
    return _PART.sub(lambda part: Path(__file__).with_name(part[1]).read_text(), script.read_text())
