"""The pages of docs/ name the test that holds each of their sentences: every one of them exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"), key=str)
LEAST = {"field.md": 50, "reliability.md": 70, "site.md": 150}
"""So many tests at least are named by these."""


@pytest.fixture(scope="module")
def written() -> set[str]:
    """The name of every test of the project."""
    return {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_test_that_the_page_names_exists(page: Path, written: set[str]) -> None:
    named = set(re.findall(r"`(?:[\w/.]*::)?(test_\w+)`", page.read_text()))
    assert len(named) >= LEAST.get(page.name, 0)
    assert named <= written, named - written


def test_the_pages_that_name_tests_are_there() -> None:
    assert LEAST.keys() <= {page.name for page in PAGES}
