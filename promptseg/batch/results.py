"""The files of one finished case: masks, prompt log, a small picture, and the numbers that go into the reports.

Imports what it needs at once: ``finish`` processes import it before the first case's time is measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.ndimage import find_objects

from promptseg.batch.case import Case
from promptseg.batch.job import REPORT, Result
from promptseg.batch.manifest import PROMPTS_NAME, THUMBNAIL_NAME
from promptseg.export.formats import FORMATS, Content
from promptseg.measure import intensities_of
from promptseg.measure.size import size_in_words, size_of
from promptseg.report.overlay import render_planes
from promptseg.session.prompt_log import write_log
from promptseg.volume import Geometry, Label, Labelmap, Volume

__all__ = ["measured", "write_results"]

MASK_STEM, MEASUREMENTS_NAME = "mask", "measurements.dcm"
THUMBNAIL_PX = (720, 260)  # width, height that the three cuts fit into
GAP_PX = 8  # between the cuts
JPEG_QUALITY = 85


def write_results(result: Result, case: Case, formats: Sequence[str], folder: Path) -> dict[str, Any]:
    """Write a case's files into a folder, which is made.

    Returns:
        What the receipt tells: ``algorithm``, ``findings``, ``files``, and ``labels`` as ``measured`` gives them.

    Raises:
        WriteError: a format that does not hold the result, a DICOM SEG for an image that is not DICOM.
    """
    folder.mkdir(parents=True, exist_ok=True)
    findings = list(result.findings)
    for name in _with_seg(formats):
        wanted = FORMATS[name]
        if wanted.needs == "dicom" and not result.labelmap.array.any():
            findings.append(f"no voxel belongs to any label: no {name} was written")
            continue
        content = _of_dicom(result, case) if wanted.needs == "dicom" else Content(result.labelmap)
        wanted.write(content, folder / wanted.file_name(MASK_STEM))
    if REPORT in formats and result.labelmap.array.any():
        _write_measurements(result, case, folder)
    if result.log is not None:
        write_log(result.log, folder / PROMPTS_NAME)
    _write_thumbnail(result, folder / THUMBNAIL_NAME)
    return {
        "algorithm": result.algorithm,
        "findings": [str(finding) for finding in findings],
        "files": sorted(path.name for path in folder.iterdir()),
        "labels": measured(result.labelmap, result.volume),
    }


def measured(labelmap: Labelmap, volume: Volume) -> list[dict[str, Any]]:
    """Return a row per label that has voxels.

    It holds ``label``, ``value``, ``voxels``, ``volume_ml`` (None where the file has no voxel size), ``size`` in words,
    and of a grey image the ``unit``, ``mean``, ``std``, ``min``, ``p10``, ``median``, ``p90`` and ``max`` of its
    intensities inside (``promptseg.measure`` has the definitions; padding counts in none of them).
    """
    rows: list[dict[str, Any]] = []
    for value, box in enumerate(find_objects(labelmap.array), start=1):
        if box is None:
            continue
        mask = labelmap.array[box] == value
        label = labelmap.labels.get(value) or Label.default(value)
        count = int(mask.sum())
        size = size_of(count, labelmap.geometry)
        ml = labelmap.geometry.volume_ml(count)
        row: dict[str, Any] = {"label": label.name, "value": value, "voxels": count, "volume_ml": ml}
        row["size"] = size_in_words(size)
        if not volume.is_rgb:
            crop = Volume(
                volume.array[box], Geometry(mask.shape), volume.window, volume.modality, padding=volume.padding
            )
            for quantity in intensities_of(mask, crop):
                row |= {"unit": quantity.unit, quantity.name: quantity.value}
        rows.append(row)
    return rows


def _with_seg(formats: Sequence[str]) -> list[str]:
    """Return the formats of labels, the DICOM SEG that a report refers to among them."""
    masks = [name for name in formats if name != REPORT]
    return [*masks, *(["dicom-seg"] if REPORT in formats and "dicom-seg" not in masks else [])]


def _write_measurements(result: Result, case: Case, folder: Path) -> None:
    from promptseg.export import write_dicom_sr

    images = _of_dicom(result, case).images
    if images is not None:
        seg = folder / FORMATS["dicom-seg"].file_name(MASK_STEM)
        write_dicom_sr(seg, folder / MEASUREMENTS_NAME, images, volume=result.volume)


def _of_dicom(result: Result, case: Case) -> Content:
    from promptseg.export import Provenance, provenance_of, read_source

    source = read_source(case.image, series=case.series, frame=case.frame)
    made = provenance_of(result.log) if result.log is not None else Provenance("AUTOMATIC", model_id=result.algorithm)
    return Content(result.labelmap, images=source, made=made)


def _write_thumbnail(result: Result, path: Path) -> None:
    panels = [plane.picture for plane in render_planes(result.volume, result.labelmap, room=THUMBNAIL_PX)]
    height = max(panel.shape[0] for panel in panels)
    spaces = [(height - panel.shape[0]) // 2 for panel in panels]
    columns = [
        np.pad(panel, ((space, height - panel.shape[0] - space), (GAP_PX // 2, GAP_PX // 2), (0, 0)))
        for panel, space in zip(panels, spaces, strict=True)
    ]
    _, data = cv2.imencode(".jpg", np.hstack(columns)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    path.write_bytes(data.tobytes())
