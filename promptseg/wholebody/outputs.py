"""What goes beside a whole-body result: statistics and radiomics."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from promptseg.errors import MissingExtraError
from promptseg.export.outputs import OUTPUT_EXTENSIONS, stem_of
from promptseg.io.outputs import has_extension
from promptseg.volume import Labelmap, Volume

__all__ = ["require_radiomics", "side_path", "write_radiomics", "write_statistics"]

NO_RADIOMICS = (
    "radiomics need the package 'pyradiomics', which is not installed, and whose last release does not build "
    "from source on recent Python; install a build of it that fits this Python, or take volumes and mean "
    "intensities (--statistics), or shapes and intensities (promptseg measure)"
)


def side_path(output: Path, name: str) -> Path:
    """Where a file that goes with an output lies: in its folder, or beside it with its stem."""
    if has_extension(output, OUTPUT_EXTENSIONS) and not output.is_dir():
        return output.parent / f"{stem_of(output)}.{name}"
    output.mkdir(parents=True, exist_ok=True)
    return output / name


def write_statistics(statistics: Mapping[str, Any], path: Path) -> Path:
    """Write TotalSegmentator's volumes (mm³) and mean intensities as its own ``statistics.json`` has them."""
    from promptseg.io.atomic import all_or_nothing

    with all_or_nothing(path) as folder:
        text = json.dumps(statistics, indent=4, default=float)
        (folder / path.name).write_text(text + "\n", encoding="utf-8")
    return path


def require_radiomics() -> None:
    """Check that pyradiomics is there.

    Raises:
        MissingExtraError: it is not.
    """
    if find_spec("radiomics") is None:
        raise MissingExtraError("pyradiomics", "", NO_RADIOMICS)


def write_radiomics(volume: Volume, labelmap: Labelmap, path: Path) -> Path:
    """Write TotalSegmentator's table of radiomics features per class that has voxels."""
    from promptseg.io import write_labelmap, write_volume
    from promptseg.io.atomic import all_or_nothing
    from promptseg.wholebody.totalseg import radiomics

    present = [label for label in labelmap.labels.values() if bool((labelmap.array == label.value).any())]
    with tempfile.TemporaryDirectory(prefix="promptseg-") as name, all_or_nothing(path) as folder:
        masks = Path(name, "masks")
        masks.mkdir()
        write_volume(volume, Path(name, "image.nii.gz"))
        for label in present:
            one = Labelmap((labelmap.array == label.value).astype("u1"), labelmap.geometry, {})
            write_labelmap(one, masks / f"{label.name}.nii.gz")
        radiomics(Path(name, "image.nii.gz"), masks, folder / path.name)
    return path
