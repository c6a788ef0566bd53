"""Every variable that the code reads stands on its page, and no other."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OURS = re.compile(r"\bPROMPTSEG_[A-Z][A-Z_]+\b")


def test_the_page_names_what_the_code_reads() -> None:
    files = [path for folder in ("promptseg", "app", "models") for path in (ROOT / folder).rglob("*.py")]
    read = {name for path in files for name in OURS.findall(path.read_text(encoding="utf-8"))}
    page = (ROOT / "docs" / "reference" / "environment.md").read_text(encoding="utf-8")
    assert len(read) > 10
    assert set(OURS.findall(page)) == read
