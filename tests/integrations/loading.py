"""Files of the folder integrations, as modules: they are examples to take over, no part of the package."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["FOLDER", "loaded"]

FOLDER = Path(__file__).resolve().parents[2] / "integrations"


def loaded(path: str) -> ModuleType:
    """Return a file as a module of its own name."""
    file = FOLDER / path
    spec: Any = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module  # dataclasses look themselves up
    spec.loader.exec_module(module)
    return module
