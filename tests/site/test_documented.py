"""What the pages for the fire officer must say, and must not; docs/site.md holds each sentence with a test."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTICE = "本产品不是火灾报警控制器、消防联动控制器或用户信息传输装置，不替代法定消防设施、值班、巡查和119报警。"


@pytest.mark.parametrize("page", ["README.md", "docs/safety.md"])
def test_the_notice_stands_in_both_languages(page: str) -> None:
    text = " ".join((ROOT / page).read_text().split())

    assert NOTICE in text
    for words in ("fire alarm control unit (GB 4717, EN 54-2)", "linkage controller", "GB 26875.1", "119"):
        assert words in text


def test_no_page_says_that_it_complies() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for line in page.read_text().splitlines():
            assert not re.search(r"\bcompl(y|ies|iant)\b", line, re.IGNORECASE), (page.name, line)


def test_each_row_of_the_table_names_a_test() -> None:
    rows = [line for line in (ROOT / "docs" / "site.md").read_text().splitlines() if line.startswith("| ")]
    heads = {"sentence", "claim or rule", "command", "reply and codes", "---"}
    for row in rows:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        if cells[0] not in heads:
            assert "`test_" in cells[1], row
