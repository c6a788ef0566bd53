"""Writing masks and images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from promptseg.errors import WriteError, did_you_mean
from promptseg.io.atomic import all_or_nothing
from promptseg.io.itk import to_sitk
from promptseg.io.quiet import quiet_itk
from promptseg.volume.labelmap import Labelmap
from promptseg.volume.volume import Volume

__all__ = ["write_labelmap", "write_volume"]

EXTENSIONS = (".seg.nrrd", ".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".tif", ".tiff", ".png")


def extension_of(path: Path) -> str:
    """Return the known extension (lower case) that ``path`` ends with.

    Raises:
        WriteError: none; the known ones are listed.
    """
    name = path.name.lower()
    for extension in EXTENSIONS:
        if name.endswith(extension) and len(name) > len(extension):
            return extension
    suffix = "".join(path.suffixes[-2:]) or path.name
    raise WriteError(
        f"cannot write {path}: expected a name that ends with one of {', '.join(EXTENSIONS)}"
        f"{did_you_mean(suffix, EXTENSIONS)}"
    )


def write_labelmap(labelmap: Labelmap, path: str | Path) -> tuple[Path, ...]:
    """Write a labelmap; return all files written, the one asked for first."""
    import SimpleITK as sitk

    path = Path(path).expanduser()
    extension_of(path)
    with all_or_nothing(path) as folder, quiet_itk():
        sitk.WriteImage(to_sitk(labelmap.array, labelmap.geometry), str(folder / path.name), True)
    return (path,)


def write_volume(volume: Volume, path: str | Path) -> tuple[Path, ...]:
    """Write an image; return all files written, the one asked for first."""
    import SimpleITK as sitk

    path = Path(path).expanduser()
    extension_of(path)
    with all_or_nothing(path) as folder, quiet_itk():
        sitk.WriteImage(to_sitk(np.asarray(volume.array), volume.geometry), str(folder / path.name), True)
    return (path,)
