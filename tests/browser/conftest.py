"""One site and one browser for all tests of the page."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.browser.chromium import chromium
from tests.browser.site import PageSite, page_site


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PageSite]:
    async with page_site(tmp_path_factory.mktemp("site")) as made:
        yield made


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def calm_afterwards(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """Each test finds a site at which nothing stands, whatever became of the one before."""
    made: PageSite | None = request.getfixturevalue("site") if "site" in request.fixturenames else None
    yield
    if made is not None:
        await made.calm()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as made:
        yield made
