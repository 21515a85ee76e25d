"""The part of ONVIF for pictures: the camera's clock, media service, first profile and snapshot address.

Requests and answers are plain text, with a WS-UsernameToken digest (OASIS WSS 1.1); no SOAP library. Pure: the caller
supplies nonce and time.
"""

import base64
import hashlib
import re
from datetime import UTC, datetime
from html import escape
from xml.etree import ElementTree as ET

from gateway.errors import GatewayError

DEVICE = "/onvif/device_service"
CONTENT_TYPE = "application/soap+xml; charset=utf-8"
MAX_ANSWER_BYTES = 256 << 10
_ELEMENTS = 5_000
_DEPTH = 32
_TDS = "http://www.onvif.org/ver10/device/wsdl"
MEDIA = "http://www.onvif.org/ver10/media/wsdl"
MEDIA2 = "http://www.onvif.org/ver20/media/wsdl"
_SCHEMA = "http://www.onvif.org/ver10/schema"
_WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
_WSU = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
_DIGEST = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0#PasswordDigest"
_BASE64 = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-soap-message-security-1.0#Base64Binary"


class NotOnvif(GatewayError):
    """The answer is not usable ONVIF; the text says why."""


def ask_time() -> bytes:
    """GetSystemDateAndTime; asked without a login."""
    return _envelope(f'<GetSystemDateAndTime xmlns="{_TDS}"/>')


def ask_services(header: str = "") -> bytes:
    """GetServices, which names Media and Media2."""
    body = f'<GetServices xmlns="{_TDS}"><IncludeCapability>false</IncludeCapability></GetServices>'
    return _envelope(body, header)


def ask_capabilities(header: str = "") -> bytes:
    """GetCapabilities, for cameras without GetServices."""
    return _envelope(f'<GetCapabilities xmlns="{_TDS}"><Category>Media</Category></GetCapabilities>', header)


def ask_profiles(media: str, header: str = "") -> bytes:
    """GetProfiles of this media service (`MEDIA` or `MEDIA2`)."""
    more = "<Type>VideoSource</Type><Type>VideoEncoder</Type>" if media == MEDIA2 else ""
    return _envelope(f'<GetProfiles xmlns="{media}">{more}</GetProfiles>', header)


def ask_snapshot(media: str, profile: str, header: str = "") -> bytes:
    """GetSnapshotUri of a profile."""
    token = f"<ProfileToken>{escape(profile)}</ProfileToken>"
    return _envelope(f'<GetSnapshotUri xmlns="{media}">{token}</GetSnapshotUri>', header)


def login(username: str, password: str, nonce: bytes, now: float) -> str:
    """A UsernameToken for the header; `nonce` of 16 bytes, `now` in seconds since 1970 by the camera's clock."""
    created = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    proof = base64.b64encode(hashlib.sha1(nonce + created.encode() + password.encode()).digest()).decode()  # noqa: S324
    return (
        f'<Security xmlns="{_WSSE}"><UsernameToken><Username>{escape(username)}</Username>'
        f'<Password Type="{_DIGEST}">{proof}</Password>'
        f'<Nonce EncodingType="{_BASE64}">{base64.b64encode(nonce).decode()}</Nonce>'
        f'<Created xmlns="{_WSU}">{created}</Created></UsernameToken></Security>'
    )


def time_of(answer: bytes) -> float:
    """The camera's clock, seconds since 1970. Raises NotOnvif."""
    clock = _first(_parsed(answer), "UTCDateTime")
    if clock is None:
        raise NotOnvif("no UTCDateTime")
    names = ("Year", "Month", "Day", "Hour", "Minute", "Second")
    try:
        year, month, day, hour, minute, second = (int(_text(clock, name)) for name in names)
        return datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC).timestamp()
    except (ValueError, OverflowError) as error:
        raise NotOnvif("a time that is none") from error


def media_of(answer: bytes) -> tuple[str, str]:
    """Namespace and address of the media service, Media before Media2. Raises NotOnvif: none is named."""
    root = _parsed(answer)
    services = {_text(one, "Namespace"): _text(one, "XAddr") for one in _all(root, "Service")}
    for media in (MEDIA, MEDIA2):
        if services.get(media):
            return media, services[media]
    for one in _all(root, "Media"):
        if address := _text(one, "XAddr"):
            return MEDIA, address
    raise NotOnvif("no media service")


def profile_of(answer: bytes) -> str:
    """The token of the first profile with video. Raises NotOnvif."""
    profiles = _all(_parsed(answer), "Profiles")
    for one in profiles:
        has_video = _first(one, "VideoSourceConfiguration", "VideoSource") is not None
        if has_video and one.get("token"):
            return str(one.get("token"))
    raise NotOnvif("no profile with video")


def snapshot_of(answer: bytes) -> str:
    """The address of the picture in the camera's answer. Raises NotOnvif."""
    root = _parsed(answer)
    address = next((one.text.strip() for one in _all(root, "Uri") if one.text and one.text.strip()), "")
    if not address:
        raise NotOnvif("no snapshot address")
    return address


def at_its_own(address: str, origin: str) -> str:
    """Path and query of an address, for use at the camera's own `origin` (`http://HOST[:PORT]`).

    A camera behind NAT may give another IP address, which is replaced; a host name, another scheme or a login in the
    address is rejected. Raises NotOnvif.
    """
    found = re.fullmatch(r"https?://([^/?#@\s]+)(/[^#\s]*)?", address, re.IGNORECASE)
    if found is None:
        scheme = address.split(":", 1)[0][:16]
        raise NotOnvif(f"its picture is at {scheme}://, which is not fetched: write snapshot")
    host = found[1].rpartition(":")[0] if re.fullmatch(r".+:\d+", found[1]) else found[1]
    own = origin.partition("://")[2]
    own = own.rpartition(":")[0] if re.fullmatch(r".+:\d+", own) else own
    is_number = re.fullmatch(r"\d{1,3}(?:\.\d{1,3}){3}|\[[0-9A-Fa-f:.]+\]", host) is not None
    if host.lower() != own.lower() and not is_number:
        raise NotOnvif("its picture is at another name: write snapshot")
    return found[2] or "/"


def _envelope(body: str, header: str = "") -> bytes:
    return (
        '<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope">'
        f"<s:Header>{header}</s:Header><s:Body>{body}</s:Body></s:Envelope>"
    ).encode()


def _parsed(answer: bytes) -> ET.Element:
    """Parse XML. Raises NotOnvif: not XML, too large, too deep, or with a document type."""
    if len(answer) > MAX_ANSWER_BYTES or answer.count(b"<") > 2 * _ELEMENTS:
        raise NotOnvif("an answer that is too large")
    text = answer.decode("utf-8", "replace")  # ignoring its encoding declaration, which could hide a document type
    if "<!" in text.replace("<!--", "").replace("<![CDATA[", "") or "\x00" in text:
        raise NotOnvif("an answer with a document type")
    try:
        root = ET.fromstring(text)  # noqa: S314 - without a document type there are no entities
    except (ET.ParseError, ValueError, LookupError) as error:
        raise NotOnvif("no XML") from error
    level = [root]
    for _ in range(_DEPTH):
        level = [child for one in level for child in one]
    if level:
        raise NotOnvif("an answer that is too deep")
    return root


def _all(root: ET.Element, name: str) -> list[ET.Element]:
    """All elements with this name in document order, without those nested in another one."""
    found, waiting = [], [root]
    while waiting:
        one = waiting.pop()
        if one.tag.rpartition("}")[2] == name:
            found.append(one)
        else:
            waiting += reversed(one)
    return found


def _first(root: ET.Element, *names: str) -> ET.Element | None:
    return next((found for name in names for found in _all(root, name)), None)


def _text(root: ET.Element, name: str) -> str:
    found = _first(root, name)
    return (found.text or "").strip() if found is not None else ""
