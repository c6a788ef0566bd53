"""From what a file held to a Volume: plain colours, finite values, a window."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.check.finding import Finding, Severity
from promptseg.check.header import is_assumed, spacing_findings, states_depth, states_size, unit_findings
from promptseg.errors import ReadError
from promptseg.io.itk import RawImage
from promptseg.volume.intensity import Window, choose_window
from promptseg.volume.volume import Volume

__all__ = ["finish"]


def finish(
    raw: RawImage,
    *,
    modality: str | None = None,
    dicom: Window | None = None,
    window: Window | None = None,
    what: str = "the image",
) -> Volume:
    """Settle colours, non-finite voxels and the window of what a reader found; ``what`` is named in messages."""
    findings = list(raw.findings)
    array = _plain_colours(raw.array, findings, what)
    array = _finite(array, findings, what)
    if not is_assumed(findings):
        findings += spacing_findings(raw.geometry)
    if array.ndim == 3 and modality == "CT":
        findings += unit_findings(modality, float(array.min()), float(array.max()))
    geometry = raw.geometry
    if not (states_size(findings) and states_depth(findings)):
        size, depth = geometry.measured and states_size(findings), geometry.depth_measured and states_depth(findings)
        geometry = replace(geometry, measured=size, depth_measured=depth)
    chosen = window or choose_window(array, modality=modality, dicom=dicom)
    return Volume(array, geometry, chosen, modality, tuple(findings), padding=raw.padding)


def _plain_colours(array: NDArray[Any], findings: list[Finding], what: str) -> NDArray[Any]:
    """Return grey (z, y, x) or uint8 RGB (z, y, x, 3).

    Raises:
        ReadError: another number of components, or colours that are not 8-bit.
    """
    if array.dtype == np.bool_:
        return array.astype(np.uint8)
    if array.ndim == 3:
        return array
    components = array.shape[3]
    if components in (2, 4) and array.dtype in (np.uint8, np.uint16):  # the last of 2 or 4 is opacity
        alpha = array[..., -1]
        if alpha.min() != alpha.max():
            sentence = "the image has a transparency channel that varies; it was dropped"
            findings.append(Finding(sentence, "transparency-dropped", Severity.INFO, "converted"))
        array = array[..., :-1]
        components -= 1
    if components == 1:
        return np.ascontiguousarray(array[..., 0])
    if components != 3 or array.dtype not in (np.uint8, np.uint16):
        raise ReadError(
            f"cannot read {what}: expected grey values or RGB, got {components} components of {array.dtype} per voxel "
            "(a vector or tensor field); extract one component first"
        )
    if np.array_equal(array[..., 0], array[..., 1]) and np.array_equal(array[..., 0], array[..., 2]):
        return np.ascontiguousarray(array[..., 0])
    if array.dtype == np.uint16:
        sentence = "16-bit colours were reduced to 8 bits per channel"
        findings.append(Finding(sentence, "colours-reduced", Severity.INFO, "converted"))
        array = (array >> 8).astype(np.uint8)
    return np.ascontiguousarray(array)


def _finite(array: NDArray[Any], findings: list[Finding], what: str) -> NDArray[Any]:
    """Replace NaN and -inf by the smallest finite value, +inf by the largest; say how many.

    Raises:
        ReadError: not one voxel is finite.
    """
    if array.dtype.kind != "f":
        return array
    finite = np.isfinite(array)
    bad = int(array.size - np.count_nonzero(finite))
    if bad == 0:
        return array
    if bad == array.size:
        raise ReadError(f"cannot read {what}: not one of its {array.size} voxels is a finite number")
    low, high = float(array[finite].min()), float(array[finite].max())
    sentence = f"{bad} of {array.size} voxels are not finite: NaN and -inf became {low:g}, +inf became {high:g}"
    findings.append(Finding(sentence, "not-finite", Severity.WARNING, "converted"))
    return np.asarray(np.nan_to_num(array, nan=low, neginf=low, posinf=high))
