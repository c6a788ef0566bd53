"""What an independent reader makes of a mutated file, for ``fuzz_readers.py`` to compare values with."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["difference"]


def difference(path: Path, array: np.ndarray) -> str:
    """Return how voxels (z, y, x) differ from what nibabel reads of a NIfTI file; "" where they do not, or it refuses.

    Other formats have no second reader that is not fooled by damage itself: ITK hands out unwritten memory.
    """
    truth = _by_nibabel(path) if path.name.endswith((".nii", ".nii.gz")) else None
    if truth is None:
        return ""
    if truth.shape != array.shape:
        return f"shape {array.shape}, nibabel has {truth.shape}"
    finite = np.isfinite(truth)
    if np.allclose(array[finite], truth[finite], rtol=1e-4):
        return ""
    return f"{np.count_nonzero(~np.isclose(array[finite], truth[finite], rtol=1e-4))} voxels differ from nibabel's"


def _by_nibabel(path: Path) -> Any:
    import nibabel

    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)  # it tells of every field that it mends
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            values = np.asarray(nibabel.load(path).dataobj)
    except Exception:  # noqa: BLE001 - whatever it raises: it does not read the file
        return None
    if values.dtype.fields is not None or values.ndim > 4:
        return None
    values = values.reshape(*values.shape, *(1,) * (3 - values.ndim)) if values.ndim < 3 else values
    return (values[..., 0] if values.ndim == 4 else values).T.astype(np.float64)
