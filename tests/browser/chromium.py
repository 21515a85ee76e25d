"""Debian's Chromium, driven by Playwright, and what every test of the page asks of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Self

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, Request, async_playwright

PROGRAM = "/usr/bin/chromium"
_ARGUMENTS = (
    "--no-sandbox",  # the tests may run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=user-gesture-required",
)
DESKTOP, PHONE = (1366, 768), (360, 640)
HELD_MS = 2200
"""So long a button is held that wants 1.5 s."""


@dataclass
class Look:
    """One tab, and what it said and asked for."""

    page: Page
    host: str
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    away: list[str] = field(default_factory=list)
    """Requests to another host: there are none."""

    def begin(self) -> Self:
        """Listen."""
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.on("request", self._asked)
        return self

    def _said(self, message: ConsoleMessage) -> None:
        self.messages.append(f"{message.type}: {message.text}")

    def _asked(self, request: Request) -> None:
        self.requests.append(request.url)
        if not request.url.startswith((self.host, "blob:")):
            self.away.append(request.url)

    async def ready(self) -> None:
        """Wait until it shows what is."""
        await self.page.locator("body:not(.lost) .strip .worst").wait_for()

    async def lost(self, within_ms: int = 20_000) -> None:
        """Wait until it says that it shows what was."""
        await self.page.locator("body.lost .band").wait_for(timeout=within_ms)

    async def log_in(self, name: str) -> None:
        """As one of the site's users."""
        await self._person()
        await self.page.locator("button.login:visible").click()
        await self.page.locator("input[name=name]").fill(name)
        await self.page.locator("input[name=password]").fill(f"password of {name}")
        await self.page.locator(".loginform button.strong").click()
        await self.page.locator(".person", has_text=name).first.wait_for(state="attached")
        await self.page.locator(".loginform").wait_for(state="detached")

    async def _person(self) -> None:
        if await self.page.locator(".thumb").is_visible():
            await self.page.locator(".thumb button").click()

    async def go(self, screen: str) -> None:
        """To a screen, as a person goes."""
        link = self.page.locator(f"a[href='#{screen}']:visible")
        if not await link.count():
            await self.page.locator(".thumb button").click()
        await link.first.click()
        await self.page.locator(f"main.{screen}").wait_for()
        await self.page.locator("main > :not(.none)").first.wait_for()

    async def language(self) -> None:
        """The other one."""
        await self._person()
        await self.page.locator(".person:visible button[lang]").click()
        await self._person()

    async def hold(self, button: Locator) -> None:
        """Hold it as long as it wants."""
        await button.scroll_into_view_if_needed()
        await button.hover()
        await self.page.mouse.down()
        await self.page.wait_for_timeout(HELD_MS)
        await self.page.mouse.up()


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """The browser."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=PROGRAM, args=list(_ARGUMENTS))
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def context(
    browser: Browser,
    size: tuple[int, int] = DESKTOP,
    language: str = "zh-CN",
    *,
    dark: bool = False,
    checks: bool = False,
) -> AsyncIterator[BrowserContext]:
    """A browser of its own, with its cookies. `checks`: scripts of ours may be put into the page."""
    made = await browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        locale=language,
        color_scheme="dark" if dark else "light",
        has_touch=size == PHONE,
        bypass_csp=checks,
    )
    made.set_default_timeout(15_000)
    try:
        yield made
    finally:
        await made.close()


async def tab(made: BrowserContext, base: str) -> Look:
    """A new tab with the page."""
    look = Look(await made.new_page(), base).begin()
    await look.page.goto(base)
    return look
