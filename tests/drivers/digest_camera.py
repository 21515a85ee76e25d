"""A camera's web server: real HTTP on loopback, real digest, counts every login."""

import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

USER, PASSWORD = "admin", "pass word:1"
Page = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class DigestCamera:
    """Serves `pages` by their path to who proves that he knows the password."""

    pages: dict[str, Page]
    password: str = PASSWORD
    scheme: str = "digest"
    algorithm: str | None = "MD5"
    qop: str | None = "auth"
    nonces: list[str] = field(default_factory=lambda: ["nonce0"])
    """The last one is valid."""
    says_stale: bool = False
    asked: list[str] = field(default_factory=list)
    """Method and target of every request."""
    proofs: list[str] = field(default_factory=list)
    wrong: int = 0
    """Proofs that were wrong."""
    port: int = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        target = request.rel_url.raw_path_qs
        self.asked.append(f"{request.method} {target}")
        said = request.headers.get("Authorization", "")
        self.proofs.append(said)
        if self.scheme == "none" or self._knows(request.method, target, said):
            page = self.pages.get(request.path) or self.pages.get(target)
            return await page(request) if page else web.Response(status=404)
        is_old = any(f'nonce="{one}"' in said for one in self.nonces[:-1])
        if said and not is_old:
            self.wrong += 1
        response = web.Response(status=401, text="Unauthorized")
        for header in self._challenges(is_old=is_old):
            response.headers.add("WWW-Authenticate", header)
        return response

    def _challenges(self, *, is_old: bool) -> list[str]:
        if self.scheme == "basic":
            return ['Basic realm="cam"']
        digest = f'Digest realm="IP Camera(\\"1\\")", nonce="{self.nonces[-1]}", opaque="op"'
        if self.qop is not None:
            digest += f', qop="{self.qop}"'
        if self.algorithm is not None:
            digest += f", algorithm={self.algorithm}"
        if is_old and self.says_stale:
            digest += ", stale=TRUE"
        return ['Basic realm="cam"', digest] if self.scheme == "both" else [digest]

    def _knows(self, method: str, target: str, said: str) -> bool:
        """Computed apart from the program's own code."""
        if self.scheme == "basic":
            return said == "Basic YWRtaW46cGFzcyB3b3JkOjE=" and self.password == PASSWORD
        if not said.startswith("Digest "):
            return False
        pairs = {
            key: quoted or bare for key, quoted, bare in re.findall(r'(\w+)=(?:"((?:[^"\\]|\\.)*)"|([^,\s]+))', said)
        }
        hash_ = hashlib.sha256 if "SHA-256" in (self.algorithm or "") else hashlib.md5

        def h(text: str) -> str:
            return hash_(text.encode()).hexdigest()

        ha1 = h(f'{USER}:IP Camera("1"):{self.password}')
        if (self.algorithm or "").endswith("sess"):
            ha1 = h(f"{ha1}:{pairs['nonce']}:{pairs['cnonce']}")
        middle = f"{pairs['nonce']}:"
        if self.qop is not None:
            middle += f"{pairs.get('nc')}:{pairs.get('cnonce')}:{pairs.get('qop')}:"
        return (
            pairs.get("response") == h(f"{ha1}:{middle}{h(f'{method}:{target}')}")
            and pairs.get("uri") == target
            and pairs.get("nonce") == self.nonces[-1]
            and pairs.get("username") == USER
        )


@asynccontextmanager
async def serving(camera: DigestCamera) -> AsyncIterator[DigestCamera]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", camera.answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", camera.port)
        await site.start()
        camera.port = runner.addresses[0][1]
        yield camera
    finally:
        await runner.cleanup()
