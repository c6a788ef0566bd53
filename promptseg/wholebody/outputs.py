"""What goes beside a whole-body result: statistics, radiomics, the image around what was found, a report of the run."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptseg.errors import MissingExtraError, WriteError
from promptseg.export.outputs import OUTPUT_EXTENSIONS, stem_of
from promptseg.io.label_values import present_values
from promptseg.io.outputs import has_extension
from promptseg.volume import Labelmap, Volume
from promptseg.volume.label_voxels import bounds

if TYPE_CHECKING:
    from promptseg.wholebody.engine import WholeBody

__all__ = [
    "report_of",
    "require_radiomics",
    "side_path",
    "write_cropped",
    "write_json",
    "write_radiomics",
]

PACKAGES = ("promptseg", "TotalSegmentator", "nnunetv2", "torch")
CROP_MARGIN = 3  # voxels around what was found, as TotalSegmentator's crop_to_body leaves

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


def write_json(data: Mapping[str, Any], path: Path) -> Path:
    """Write statistics as TotalSegmentator's own ``statistics.json`` has them, or the report of a run."""
    from promptseg.io.atomic import all_or_nothing
    from promptseg.measure.tables import plain_json

    with all_or_nothing(path) as folder:
        text = json.dumps(plain_json(data), indent=4, ensure_ascii=False, default=_plain)
        (folder / path.name).write_text(text + "\n", encoding="utf-8")
    return path


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)  # numpy's numbers; paths


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


def write_cropped(volume: Volume, labelmap: Labelmap, path: Path) -> Path:
    """Write the image around everything that was found, and a few voxels more.

    Raises:
        WriteError: nothing was found.
    """
    from promptseg.io import write_volume

    box = bounds(labelmap.array > 0)
    if box is None:
        raise WriteError(f"cannot write {path}: nothing was found that the image could be cropped to")
    return write_volume(volume.cropped(box, CROP_MARGIN), path)[0]


def report_of(engine: WholeBody, volume: Volume, labelmap: Labelmap) -> dict[str, Any]:
    """Return what a program wants to know of a run: versions, task, device, image, classes found and not found."""
    present = {value for value in present_values(labelmap.array) if value}
    installed = {name: version(name) for name in PACKAGES if find_spec(name.lower()) is not None}
    return {
        "task": engine.task.name,
        "made_by": engine.made_by,
        "modality": engine.task.modality,
        "options": {name: value for name, value in engine.asked.items() if value not in (None, False)},
        "device": engine.device,
        "versions": installed,
        "image": {
            "sources": [str(path) for path in volume.sources],
            "sha256": volume.content_hash,
            "shape_zyx": volume.shape,
            "spacing_mm_xyz": volume.geometry.spacing,
        },
        "classes": {value: label.name for value, label in labelmap.labels.items()},
        "found": [label.name for value, label in labelmap.labels.items() if value in present],
        "not_found": [label.name for value, label in labelmap.labels.items() if value not in present],
    }
