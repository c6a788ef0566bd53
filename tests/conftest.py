"""Fixtures that every test may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

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


@pytest.fixture(scope="session", autouse=True)
def no_certificates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing here speaks to the world, whose certificates each HTTP client reads anew, for 50 ms, in children too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SSL_CERT_FILE", raising=False)
        patch.setenv("SSL_CERT_DIR", str(tmp_path_factory.mktemp("no_certificates")))
        yield


# Folders whose tests share what is dear to start: one worker takes all of a folder, and takes it early.
TOGETHER = ("app/browser", "wholebody", "app/protocols")
MARKS = {"app": ("server",), "app/browser": ("browser",), "remote": ("server",), "wholebody": ("torch",)}


def lot(path: PurePath) -> str:
    """Return what stays with one worker: a folder of ``TOGETHER``, else a file; ``path`` below this folder."""
    return next((folder for folder in map(PurePath.as_posix, path.parents) if folder in TOGETHER), path.as_posix())


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of folders, and put the large lots in front."""
    files = {item: item.path.relative_to(ROOT) for item in items}
    for item, file in files.items():
        for folder in file.parents:
            for name in MARKS.get(folder.as_posix(), ()):
                item.add_marker(name)
    items.sort(key=lambda item: lot(files[item]) not in TOGETHER)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Deal whole lots. Marks (``--dist loadgroup``) do not: xdist 3.8 writes them where pytest 9.2 no longer looks."""
    from xdist.scheduler import LoadScopeScheduling

    class Lots(LoadScopeScheduling):  # type: ignore[misc,unused-ignore]
        def _split_scope(self, nodeid: str) -> str:
            return lot(PurePath(nodeid.split("::")[0]).relative_to(ROOT.name))

    return Lots(config, log)
