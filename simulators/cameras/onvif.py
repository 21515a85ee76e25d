"""A camera's ONVIF services: its clock, its media service, its profiles, its snapshot address; WS-UsernameToken.

`clock_off`: seconds that its clock is ahead; `host`: where it says that its services are, whatever its own address is.
"""

import base64
import hashlib
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final
from xml.etree import ElementTree as ET

from aiohttp import web

DEVICE: Final = "/onvif/device_service"
MEDIA: Final = "/onvif/media_service"
PICTURE: Final = "/onvif-http/snapshot"
_MEDIA = "http://www.onvif.org/ver10/media/wsdl"
_MEDIA2 = "http://www.onvif.org/ver20/media/wsdl"
_SKEW_S: Final = 5.0
"""A login older than this, by the camera's clock, is refused."""


@dataclass
class OnvifCamera:
    """Its services. Answers POSTs to `DEVICE` and `MEDIA`."""

    host: str
    username: str = "admin"
    password: str = "onvif pass"  # noqa: S105 - of nothing
    clock_off: float = 0.0
    media2: bool = False
    knows_services: bool = True
    snapshot: str | None = None
    """What GetSnapshotUri says; None: `PICTURE` at `host`."""
    doctype: bool = False
    """Its answers carry a document type."""
    asked: list[str] = field(default_factory=list)
    """Names of the requests, in their order."""
    refused: int = 0
    nonces: set[str] = field(default_factory=set)

    @property
    def now(self) -> float:
        """By its clock."""
        return time.time() + self.clock_off

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """One request."""
        root = ET.fromstring(await request.text())  # noqa: S314 - of our own gateway
        body = next(one for one in root if one.tag.endswith("Body"))
        name = body[0].tag.rpartition("}")[2]
        self.asked.append(name)
        if name == "GetSystemDateAndTime":
            return self._said(self._time())
        if name == "GetServices":
            return self._said(self._services()) if self.knows_services else web.Response(status=400)
        if name == "GetCapabilities":
            return self._said(f"<Capabilities><Media><XAddr>http://{self.host}{MEDIA}</XAddr></Media></Capabilities>")
        if not self._knows(root):
            self.refused += 1
            return web.Response(status=400, text="<Fault>NotAuthorized</Fault>", content_type="application/soap+xml")
        if name == "GetProfiles":
            video = "VideoSource" if self.media2 else "VideoSourceConfiguration"
            return self._said(f'<Profiles token="audio"/><Profiles token="main&amp;1"><{video}/></Profiles>')
        address = self.snapshot or f"http://{self.host}{PICTURE}?profile=main"
        return self._said(f"<MediaUri><Uri>{address}</Uri></MediaUri>")

    def _services(self) -> str:
        namespace = _MEDIA2 if self.media2 else _MEDIA
        return f"<Service><Namespace>{namespace}</Namespace><XAddr>http://{self.host}{MEDIA}</XAddr></Service>"

    def _time(self) -> str:
        now = datetime.fromtimestamp(self.now, UTC)
        date = f"<Date><Year>{now.year}</Year><Month>{now.month}</Month><Day>{now.day}</Day></Date>"
        clock = f"<Time><Hour>{now.hour}</Hour><Minute>{now.minute}</Minute><Second>{now.second}</Second></Time>"
        return f"<SystemDateAndTime><UTCDateTime>{clock}{date}</UTCDateTime></SystemDateAndTime>"

    def _knows(self, root: ET.Element) -> bool:
        """Computed apart from the program's own code. A nonce counts once."""
        if not self.password:
            return True
        said = {one.tag.rpartition("}")[2]: one.text or "" for one in root.iter()}
        nonce, created = said.get("Nonce", ""), said.get("Created", "")
        if not nonce or nonce in self.nonces or len(base64.b64decode(nonce)) != 16:
            return False
        self.nonces.add(nonce)
        then = datetime.fromisoformat(created)
        if abs(then - datetime.fromtimestamp(self.now, UTC)) > timedelta(seconds=_SKEW_S):
            return False
        whole = base64.b64decode(nonce) + created.encode() + self.password.encode()
        proof = base64.b64encode(hashlib.sha1(whole, usedforsecurity=False).digest()).decode()
        return said.get("Username") == self.username and said.get("Password") == proof

    def _said(self, body: str) -> web.Response:
        kind = '<!DOCTYPE a [<!ENTITY b "c">]>' if self.doctype else ""
        text = f'<?xml version="1.0"?>{kind}<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope">'
        return web.Response(text=f"{text}<e:Body>{body}</e:Body></e:Envelope>", content_type="application/soap+xml")
