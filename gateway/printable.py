"""Text from outside, made harmless before a person or a terminal sees it. Pure.

What devices, cameras, brokers and files say may hold escape sequences, line ends, and marks that turn the order of
letters round (Unicode TR 36, TR 9). On a terminal such text moves the cursor, sets the title, answers as if typed.
"""

import json
import re

_DOUBTFUL = re.compile(r"[^\x20-\x7e\n]")
_WIDE_BLANK = "\u3000"


def harmless(text: str) -> str:
    """One line in which everything that is not printable stands as its escape."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() or sign == _WIDE_BLANK else _escape(sign) for sign in text)


def harmless_lines(text: str) -> str:
    """The same for text of several lines that is put together of lines of ours."""
    return "\n".join(map(harmless, text.split("\n")))


def harmless_json(text: str) -> str:
    """The same JSON; in its strings, what is not printable stands as its escape."""
    return _DOUBTFUL.sub(_escape_in_json, text)


def _escape(sign: str) -> str:
    return sign.encode("unicode_escape").decode()


def _escape_in_json(found: re.Match[str]) -> str:
    sign = found[0]
    return sign if sign.isprintable() or sign == _WIDE_BLANK else json.dumps(sign)[1:-1]
