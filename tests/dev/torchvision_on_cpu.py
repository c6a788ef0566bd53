"""Let PyPI's torchvision be imported beside a CPU build of torch. For development environments only.

PyPI's torchvision for Linux is built for CUDA: beside a CPU torch its import fails for want of two operators that
nothing here calls. They are declared just before torchvision is imported, and only for that pair of builds.

Running this file (`make setup` does) puts it into the environment's site-packages, with a line that calls it at every
start of Python, so that child processes have it too. Users with matching builds never see it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

OPERATORS = ("nms", "qnms")
_KEPT: list[Any] = []  # a torch library lives as long as its object


class _BeforeTorchvision:
    """Finds nothing; being asked for torchvision is the moment to declare its operators."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            _declare()


def _declare() -> None:
    from importlib.metadata import version

    import torch

    has_cuda_build = sys.platform == "linux" and "+" not in version("torchvision")
    if torch.version.cuda is not None or not has_cuda_build:
        return
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in OPERATORS:
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _KEPT.append(library)


def install() -> None:
    """Wait for the import of torchvision; twice is once."""
    waiting = any(type(finder).__name__ == _BeforeTorchvision.__name__ for finder in sys.meta_path)
    if "torchvision" not in sys.modules and not waiting and not _KEPT:
        sys.meta_path.insert(0, _BeforeTorchvision())


def install_for_all_processes() -> None:
    """Put this file and a line that calls it into the running environment's site-packages."""
    import sysconfig

    here, folder = Path(__file__), Path(sysconfig.get_paths()["purelib"])
    (folder / here.name).write_text(here.read_text(encoding="utf-8"), encoding="utf-8")
    (folder / f"{here.stem}.pth").write_text(f"import {here.stem}; {here.stem}.install()\n", encoding="utf-8")


if __name__ == "__main__":
    install_for_all_processes()
