"""Golden cases: broken (and odd) site files with the exact lines that `check` prints."""

from pathlib import Path

import pytest

from gateway.config.load import load

CASES = sorted((Path(__file__).parent / "cases").iterdir())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_says_exactly_this(case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(case)
    loaded = load("site.yaml")
    assert [str(problem) for problem in loaded.problems] == (case / "expected.txt").read_text().splitlines()
    assert (loaded.site is None) == any(problem.level == "error" for problem in loaded.problems)


def test_no_case_shows_a_secret() -> None:
    assert len(CASES) >= 40
    for case in CASES:
        assert "hunter2" not in (case / "expected.txt").read_text()
