"""Debian's Chromium, driven by Playwright, and what every test of the page asks of it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Self

import pytest
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    Request,
    async_playwright,
    expect,
)
from playwright.async_api import TimeoutError as NotSeen

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
SIZES = pytest.mark.parametrize(
    ("size", "language"),
    [(DESKTOP, "zh-CN"), (PHONE, "en"), (DESKTOP, "en"), (PHONE, "zh-CN")],
    ids=["desktop in Chinese", "phone in English", "desktop in English", "phone in Chinese"],
)
FIRST, SECOND = "smoke-3-2f/smoke/fire", "smoke-3-3f/smoke/fire"
SCREENS = ("overview", "gates", "devices", "lines", "rounds", "walk", "box", "log")
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
        name_field = self.page.locator("input[name=name]")
        while not await name_field.count():  # a press while the page is still being drawn may meet no button
            await self.page.locator("button.login:visible").click()
            with suppress(NotSeen):
                await name_field.wait_for(timeout=3000)
        await name_field.fill(name)
        await self.page.locator("input[name=password]").fill(f"password of {name}")
        await self.page.locator(".loginform button.strong").click()
        await self.page.locator(".person", has_text=name).first.wait_for(state="attached")
        await self.page.locator(".loginform").wait_for(state="detached")

    async def _person(self) -> None:
        if await self.page.locator(".thumb").is_visible():
            await self.page.locator(".thumb a.more").click()

    async def go(self, screen: str) -> None:
        """To a screen, as a person goes."""
        link = self.page.locator(f"a[href='#{screen}']:visible")
        if not await link.count():
            await self.page.locator(".thumb a.more").click()
        await link.first.click()
        await self.page.locator(f"main.{screen}").wait_for()
        await self.page.locator("main .whole > :not(.none)").first.wait_for()

    async def unfold(self, zone: str = "building-3") -> None:
        """Everything on this screen that is shown only when it is asked for."""
        if await self.page.locator("main.walk select:enabled").count():
            await self.page.locator("main.walk select").select_option(zone)
        folded = self.page.locator("main details:not([open]) > summary")
        while await folded.count():
            await folded.first.click()

    async def language(self) -> None:
        """The other one."""
        await self._person()
        await self.page.locator(".person:visible button[lang]").click()
        await self._person()
        await self.page.locator(".sheet").wait_for(state="detached")

    async def hold(self, button: Locator) -> None:
        """Hold it as long as it wants."""
        await expect(button).to_be_enabled()  # not so soon after it has moved, or after another press
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


async def logged_in(made: BrowserContext, base: str, name: str, screen: str = "") -> Look:
    """A tab in which this user is logged in, at a screen."""
    look = await tab(made, base)
    await look.ready()
    await look.log_in(name)
    if screen:
        await look.go(screen)
    return look


def card(look: Look, subject: str) -> Locator:
    """Of an alarm."""
    return look.page.locator(f"[data-alarm='{subject}']")


def press(where: Page | Locator, cmd: str, text: str = "") -> Locator:
    """The button that asks for a command."""
    return where.locator(f"button[data-cmd='{cmd}']", has_text=text)


async def until(reached: Callable[[], bool], within_s: float = 15.0) -> None:
    """Wait until it is so. Raises TimeoutError."""
    async with asyncio.timeout(within_s):
        while not reached():
            await asyncio.sleep(0.02)


def clean(look: Look, *but: str) -> None:
    """Nothing on the console, no request off the host."""
    assert [one for one in look.messages if not any(known in one for known in but)] == []
    assert look.away == []
