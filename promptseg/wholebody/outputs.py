"""Where a whole-body result goes: mask files by their extension, a DICOM SEG, a folder; statistics and radiomics."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptseg.errors import MissingExtraError, WriteError
from promptseg.volume import Labelmap, Volume

if TYPE_CHECKING:
    from promptseg.export.source import DicomSource

__all__ = ["check_outputs", "require_radiomics", "side_path", "write_outputs", "write_radiomics", "write_statistics"]

FOLDER_MASK = "segmentation.nii.gz"  # in a folder
NO_RADIOMICS = (
    "radiomics need the package 'pyradiomics', which is not installed, and whose last release does not build "
    "from source on recent Python; install a build of it that fits this Python, or take volumes and mean "
    "intensities (--statistics), or shapes and intensities (promptseg measure)"
)


def check_outputs(outputs: Sequence[Path], image: Path, series: str | None = None) -> DicomSource | None:
    """Say before the work what could not be written after it; return the DICOM images when a SEG is asked for.

    Raises:
        WriteError: a name of no known format, or a folder that is not there.
        ReadError: a DICOM SEG is asked for and the image is no DICOM image.
    """
    from promptseg.export import read_source
    from promptseg.io.write import MASK_EXTENSIONS

    for path in outputs:
        known = path.name.lower().endswith((*MASK_EXTENSIONS, ".dcm"))
        if not known and path.suffix and not path.is_dir():
            raise WriteError(
                f"cannot write {path}: expected a name that ends with one of {', '.join(MASK_EXTENSIONS)}, .dcm, "
                "or a folder"
            )
        if known and not path.expanduser().resolve().parent.is_dir():
            raise WriteError(f"cannot write {path}: its folder is not there")
    return read_source(image, series=series) if any(_is_dicom(path) for path in outputs) else None


def write_outputs(
    labelmap: Labelmap,
    outputs: Sequence[Path],
    source: DicomSource | None,
    *,
    made_by: str,
    kind: str = "binary",
    keep_identity: bool = False,
) -> list[Path]:
    """Write the labels to every output; return all files.

    Args:
        labelmap: the result.
        outputs: mask files, ``*.dcm`` for a DICOM SEG, or folders (made when missing).
        source: the DICOM images, for a DICOM SEG.
        made_by: task and program, for the DICOM object.
        kind: "binary" or "labelmap", for the DICOM object.
        keep_identity: copy the patient's name, id and dates into the DICOM object.
    """
    from promptseg.export import write_dicom_seg
    from promptseg.export.provenance import Provenance
    from promptseg.io import write_labelmap

    written: list[Path] = []
    for path in outputs:
        if _is_dicom(path) and source is not None:
            made = Provenance(algorithm="AUTOMATIC", model_id=made_by)
            written.append(
                write_dicom_seg(labelmap, path, source, provenance=made, kind=kind, keep_identity=keep_identity)
            )
            continue
        written += write_labelmap(labelmap, path if _is_file(path) else _in_folder(path) / FOLDER_MASK)
    return written


def side_path(output: Path, name: str) -> Path:
    """Where a file that goes with an output lies: in its folder, or beside it with its stem."""
    if not _is_file(output):
        return _in_folder(output) / name
    stem = output.name
    for extension in (".nii.gz", ".seg.nrrd", output.suffix):
        stem = stem.removesuffix(extension)
    return output.parent / f"{stem}.{name}"


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


def _is_dicom(path: Path) -> bool:
    return path.suffix.lower() == ".dcm"


def _is_file(path: Path) -> bool:
    from promptseg.io.write import MASK_EXTENSIONS

    return _is_dicom(path) or path.name.lower().endswith(MASK_EXTENSIONS)


def _in_folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise WriteError(f"cannot make the folder {folder}: {exc.strerror}") from exc
    return folder
