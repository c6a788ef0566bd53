"""docs/conformance.md: 25 checks, and every test that it names is there."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = (HERE.parents[2] / "docs" / "conformance.md").read_text(encoding="utf-8")


def test_every_check_has_a_test_that_exists() -> None:
    rows = re.findall(r"^\| (\d+) \|.*\| (.*) \|$", PAGE, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 26))
    there = {name for file in HERE.glob("test_*.py") for name in re.findall(r"^def (test_\w+)", file.read_text(), re.M)}
    for number, tests in rows:
        named = re.findall(r"`(test_\w+)`", tests)
        assert named, number
        assert set(named) <= there, number
