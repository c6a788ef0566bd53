"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torchvision_on_cpu

torchvision_on_cpu.install()  # `make setup` does it for child processes
ROOT = Path(__file__).parent
SHARED_DATA_VARIABLE = "PROMPTSEG_TEST_DATA"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real images (``$PROMPTSEG_TEST_DATA`` or ``../shared/data``); skips where it is absent."""
    named = os.environ.get(SHARED_DATA_VARIABLE)
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"real images are not here ({SHARED_DATA_VARIABLE} or ../shared/data)")
    return folder


# Folders whose tests share what is dear to start: one worker takes all of a folder, and takes it early.
TOGETHER = ("app/browser", "wholebody", "app/protocols")
MARKS = {"app": ("server",), "app/browser": ("browser",), "remote": ("server",), "wholebody": ("torch",)}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of folders, and say which stay with one worker: a folder of ``TOGETHER``, else a file."""
    lots = {}
    for item in items:
        file = item.path.relative_to(ROOT)
        above = [folder.as_posix() for folder in file.parents]
        for name in {name for folder in above for name in MARKS.get(folder, ())}:
            item.add_marker(name)
        lots[item] = next((folder for folder in above if folder in TOGETHER), file.as_posix())
        item.add_marker(pytest.mark.xdist_group(lots[item]))
    items.sort(key=lambda item: lots[item] not in TOGETHER)
