"""Makes text from outside harmless for people and terminals. Pure.

Text of devices, cameras, brokers and files may contain escape sequences, line ends, and marks that reverse the order of
letters (Unicode TR 36, TR 9). On a terminal such text can move the cursor, set the title, or send input.
"""

import json
import re

_DOUBTFUL = re.compile(r"[^\x20-\x7e\n]")
_WIDE_BLANK = "\u3000"


def harmless(text: str) -> str:
    """One line in which everything unprintable is escaped."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() or sign == _WIDE_BLANK else _escape(sign) for sign in text)


def harmless_lines(text: str) -> str:
    """The same for text of several lines that is put together of lines of ours."""
    return "\n".join(map(harmless, text.split("\n")))


def harmless_json(text: str) -> str:
    """The same JSON with unprintable characters in its strings escaped."""
    return _DOUBTFUL.sub(_escape_in_json, text)


def _escape(sign: str) -> str:
    return sign.encode("unicode_escape").decode()


def _escape_in_json(found: re.Match[str]) -> str:
    sign = found[0]
    return sign if sign.isprintable() or sign == _WIDE_BLANK else json.dumps(sign)[1:-1]
