"""The example volume that ships with the package: a torso in CT, made by this project, with its truth.

``python -m promptseg.example OUTDIR`` makes the same voxels again.
"""

from __future__ import annotations

from pathlib import Path

from promptseg.volume.labelmap import Labelmap
from promptseg.volume.volume import Volume

__all__ = [
    "example_path",
    "example_prompts_path",
    "example_truth",
    "example_truth_path",
    "example_volume",
    "write_example",
]

CT_NAME, TRUTH_NAME, PROMPTS_NAME = "torso_ct.nii.gz", "torso_truth.nii.gz", "prompts.json"


def example_path() -> Path:
    """Return the path of the CT (NIfTI, int16 HU)."""
    return _shipped(CT_NAME)


def example_truth_path() -> Path:
    """Return the path of the truth labels (NIfTI, uint8)."""
    return _shipped(TRUTH_NAME)


def example_prompts_path() -> Path:
    """Return the path of a prompt log with one box per organ, on its largest axial slice."""
    return _shipped(PROMPTS_NAME)


def example_volume() -> Volume:
    """Return the CT: int16 HU (z, y, x) = 48 x 140 x 180, spacing (x, y, z) 2 x 2 x 4.8 mm, oblique, off-origin."""
    from promptseg.io import read_volume

    return read_volume(example_path())


def example_truth() -> Labelmap:
    """Return the truth on the CT's grid: uint8 labels with names and colours."""
    import numpy as np

    from promptseg.example.torso import LABELS
    from promptseg.io import read_volume

    stored = read_volume(example_truth_path())
    return Labelmap(stored.array.astype(np.uint8, copy=False), stored.geometry, LABELS)


def write_example(folder: str | Path) -> tuple[Path, ...]:
    """Generate the example and write it to ``folder``; return the files written. Takes about 10 s.

    Raises:
        WriteError: the folder cannot be made or written to.
    """
    from promptseg.errors import WriteError
    from promptseg.example.hints import prompt_entries
    from promptseg.example.torso import LABELS, torso_geometry, torso_voxels
    from promptseg.io import write_labelmap, write_volume
    from promptseg.session.prompt_log import PromptLog, write_log

    folder = Path(folder).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise WriteError(f"cannot make the folder {folder}: {exc.strerror or type(exc).__name__}") from exc
    hu, labels = torso_voxels()
    geometry = torso_geometry()
    truth = Labelmap(labels, geometry, LABELS)
    image = write_volume(Volume.from_array(hu, geometry, modality="CT"), folder / CT_NAME)
    masks = write_labelmap(truth, folder / TRUTH_NAME)
    return (*image, *masks, write_log(PromptLog(tuple(prompt_entries(truth))), folder / PROMPTS_NAME))


def _shipped(name: str) -> Path:
    from importlib.resources import files

    # The package is always installed as plain files (an ONNX model lies beside it), so this is a real path.
    return Path(str(files("promptseg.example") / name))
