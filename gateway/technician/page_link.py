"""The address of the local page as a link, a QR code, or a sticker for the cabinet."""

import io
import ipaddress
from contextlib import suppress
from html import escape

import segno

from gateway.config.access import StatusPage
from gateway.config.units import endpoint
from gateway.printable import harmless

_STICKER_MM = (70, 95)
_QUIET = 2


def address(page: StatusPage, own: list[str], wanted: str | None = None) -> str:
    """The page's address. `own`: names of this machine; `wanted`: the name that people on site use."""
    at = endpoint(page.listen)
    host = wanted or at.host
    if wanted is None and host in ("0.0.0.0", "::", ""):  # noqa: S104 - compared, not bound
        host = own[0] if own else "127.0.0.1"
    with suppress(ValueError):
        host = f"[{host}]" if ipaddress.ip_address(host).version == 6 else host
    return f"{'https' if page.tls else 'http'}://{host}:{at.port}/"


def with_code(link: str, code: str) -> str:
    """The link that logs in once. Browsers do not send the part after `#`, so it appears in no log."""
    return f"{link}#code={code}"


def for_terminal(link: str) -> str:
    """A QR code in block characters."""
    out = io.StringIO()
    segno.make(link, error="l", micro=False).terminal(out, border=_QUIET, compact=True)
    return out.getvalue()


def as_svg(text: str) -> str:
    """A QR code of any text, for a page."""
    return str(segno.make(text, error="m", micro=False).svg_inline(border=_QUIET, omitsize=True))


def sticker(link: str, name: str) -> str:
    """An SVG of 70 x 95 mm: title, site, QR code, and the address to type."""
    width, height = _STICKER_MM
    code = segno.make(link, error="m", micro=False)
    inner = code.svg_inline(border=_QUIET, omitsize=True)
    inner = inner.replace("<svg ", '<svg x="8" y="20" width="54" height="54" ', 1)
    style = 'font-family="sans-serif" text-anchor="middle"'
    return (
        f'<?xml version="1.0" encoding="utf-8"?>\n'
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}mm" height="{height}mm"'
        f' viewBox="0 0 {width} {height}">\n'
        f'<rect width="{width}" height="{height}" fill="#fff"/>\n'
        f'<text x="35" y="9" font-size="5" {style}>site-gateway</text>\n'
        f'<text x="35" y="16" font-size="4.5" {style}>{escape(harmless(name))}</text>\n'
        f"{inner}\n"
        f'<text x="35" y="82" font-size="3.6" {style}>{escape(link)}</text>\n'
        f'<text x="35" y="89" font-size="2.6" {style}>不替代法定消防设施、值班、巡查和119报警</text>\n'
        f"</svg>\n"
    )
