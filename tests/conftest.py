"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torchvision_on_cpu

torchvision_on_cpu.install()  # `make setup` does it for child processes
SHARED_DATA_VARIABLE = "PROMPTSEG_TEST_DATA"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real images (``$PROMPTSEG_TEST_DATA`` or ``../shared/data``); skips where it is absent."""
    named = os.environ.get(SHARED_DATA_VARIABLE)
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"real images are not here ({SHARED_DATA_VARIABLE} or ../shared/data)")
    return folder
