"""Plates as logs, metrics and the audit may show them. Pure, and small: the log uses it everywhere."""

import re
from collections.abc import Mapping

from gateway.model import Json

_PROVINCE = "[京津冀晋蒙辽吉黑沪苏浙皖闽赣鲁豫鄂湘粤桂琼渝川贵云藏陕甘青宁新雲貴魯蘇陝寧粵贛滬晉瓊遼]"
_SEPARATOR = r"[ ·•・‧∙⋅●.\-]{0,2}"
_MARKS = "警学挂港澳领使應应急試试超"
_PLATE = re.compile(
    rf"{_PROVINCE}{_SEPARATOR}[A-Z?*_#-]{_SEPARATOR}[0-9A-Z?*_#-]{{3,7}}[{_MARKS}]{{0,2}}"
    rf"|W{_SEPARATOR}J{_SEPARATOR}{_PROVINCE}?{_SEPARATOR}[0-9A-Z]{{4,6}}"
    rf"|(?:使|民航){_SEPARATOR}[0-9A-Z]{{5,6}}"
    r"|(?-i:(?<![0-9A-Za-z-])[A-Z]{2}-?[0-9]{5}(?![0-9A-Za-z]))",
    re.IGNORECASE,
)
"""Anything in a text that looks like a Chinese plate; rather too much than too little."""
_ESCAPED = re.compile(r"\\u[0-9a-f]{4}", re.IGNORECASE)
_SHOWN = 2


def masked(plate: str | None) -> str:
    """A plate as logs and metrics may show it: its first two characters and its length."""
    return "-" if not plate else plate[:_SHOWN] + "*" * (len(plate) - _SHOWN)


def without_plates(text: str) -> str:
    """The text with everything masked that looks like a plate."""
    if text.isascii() and _ESCAPED.search(text) is None:
        return _PLATE.sub(_mask, text) if any(map(str.isdigit, text)) else text
    return _PLATE.sub(_mask, _ESCAPED.sub(_unescaped, text))


def _mask(found: re.Match[str]) -> str:
    return masked(found[0])


def _unescaped(found: re.Match[str]) -> str:
    """A province may come as an escape, of `repr` or of JSON; others stay as they are."""
    sign = chr(int(found[0][2:6], 16))
    return sign if re.fullmatch(f"{_PROVINCE}|[{_MARKS}民航]", sign) else found[0]


def shown(value: Json) -> Json:
    """A tree with every plate masked; unmasked plates are shown only on an audited request."""
    if isinstance(value, str):
        return without_plates(value)
    if isinstance(value, Mapping):
        return {
            key: masked(item) if key.startswith("plate") and isinstance(item, str) else shown(item)
            for key, item in value.items()
        }
    return [shown(item) for item in value] if isinstance(value, list | tuple) else value
