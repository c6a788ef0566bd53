"""What a file says of itself, for the person who looks at it: patient, study, series; whether it is a mask."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from promptseg.io.quiet import quiet_pydicom
from promptseg.volume import Volume

__all__ = ["about", "looks_like_labels"]

TAGS = {
    "patient": "PatientName",
    "patient_id": "PatientID",
    "study": "StudyDescription",
    "series": "SeriesDescription",
    "date": "StudyDate",
    "thickness_mm": "SliceThickness",
}
MOST_LABELS = 150  # TotalSegmentator's 117 structures among them; an image has more values


def about(path: Path) -> dict[str, str]:
    """Return what a DICOM file says of its patient, study and series; {} for another file. Nothing of it is kept."""
    import pydicom

    with quiet_pydicom():
        try:
            data = pydicom.dcmread(path, specific_tags=list(TAGS.values()), stop_before_pixels=True)
            found = {key: str(data.get(tag) or "").strip() for key, tag in TAGS.items()}
        except Exception:  # noqa: BLE001 - whatever pydicom raises: the file says nothing that can be shown
            return {}
    return {key: value.replace("^", " ").strip() for key, value in found.items() if value}


def looks_like_labels(volume: Volume) -> bool:
    """Return True for whole numbers from 0 of which there are few, most of them 0: a mask rather than a picture."""
    array = volume.array
    if volume.is_rgb or array.dtype.kind not in "ui" or array.shape[0] < 2:
        return False
    sample = array[::2, ::2, ::2]
    values = np.unique(sample)
    few = len(values) <= MOST_LABELS and int(values[0]) == 0 and int(values[-1]) <= 255
    return bool(few and np.count_nonzero(sample) < sample.size / 2)
