"""What the pages point at is there."""

import re
from pathlib import Path

import pytest

from tests.contract.regenerate import DOCS

ROOT = DOCS.parent
PAGES = sorted(DOCS.glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_and_every_file_named_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    named = re.findall(r"`((?:tests|simulators|gateway|drivers|systemd|config)/[\w./-]+)`", text)

    assert [link for link in links if not (page.parent / link).exists()] == []
    # A name without a dot or a slash at its end is the subject of an alarm, such as `gateway/store`.
    files = [name for name in named if "." in name or name.endswith("/")]
    assert [name for name in files if not (ROOT / name).exists()] == []
