"""The geometry self-check of a path: every finding about every image in it, without raising for what is found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptseg.check.finding import Finding, Severity, worst
from promptseg.check.grids import compare_grids
from promptseg.check.header import is_assumed, spacing_findings, unit_findings
from promptseg.errors import ReadError, SeriesChoiceError
from promptseg.io.dicom import content_findings, files_of
from promptseg.io.dicom_pixels import decode
from promptseg.io.dicom_series import Found, SeriesInfo, find_series, matching_series, mixed_finding
from promptseg.io.dicom_stack import examine_frames
from promptseg.io.read import read_volume
from promptseg.io.read_labels import read_labelmap
from promptseg.io.sniff import is_dicom
from promptseg.volume.geometry import Geometry

__all__ = ["Checked", "SelfCheck", "check_against", "check_path"]


@dataclass(frozen=True)
class Checked:
    """One image (a file, or a series of a folder), named, with its findings."""

    name: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class SelfCheck:
    """What a check found, image by image."""

    path: str
    parts: tuple[Checked, ...]

    @property
    def worst(self) -> Severity:
        """The highest severity of all findings; INFO where there is none."""
        return worst(finding for part in self.parts for finding in part.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return ``{"path", "worst", "images": [{"name", "findings": [...]}]}``."""
        images = [{"name": part.name, "findings": [f.to_dict() for f in part.findings]} for part in self.parts]
        return {"path": self.path, "worst": self.worst.value, "images": images}


def check_path(path: str | Path, *, series: str | None = None) -> SelfCheck:
    """Check a file, or every DICOM series of a folder, headers and pixels.

    Args:
        path: a file or folder.
        series: check only this series, see ``read_volume``.

    Raises:
        ReadError: there is no such file or folder. Anything else that is wrong becomes a finding.
        SeriesChoiceError: no such series.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise ReadError(f"cannot check {path}: there is no such file or folder")
    try:
        if path.is_dir() or is_dicom(path):
            return SelfCheck(str(path), tuple(_check_dicom(path, series)))
        findings = read_volume(path).findings
    except SeriesChoiceError:
        raise
    except ReadError as exc:
        return SelfCheck(str(path), (Checked(path.name, (_refusal(exc),)),))
    return SelfCheck(str(path), (Checked(path.name, _coded(findings)),))


def check_against(path: str | Path, mask: str | Path, *, series: str | None = None) -> SelfCheck:
    """Compare the grid of an image with a mask's (or another image's).

    Raises:
        ReadError: one of them cannot be read.
    """
    image, other = read_volume(path, series=series).geometry, _geometry(Path(mask).expanduser())
    name = f"{Path(mask).name} against {Path(path).name}"
    return SelfCheck(str(path), (Checked(name, tuple(compare_grids(image, other))),))


def _geometry(path: Path) -> Geometry:
    if path.is_dir() or is_dicom(path):
        return read_volume(path).geometry
    try:
        return read_labelmap(path).geometry
    except ReadError:
        return read_volume(path).geometry


def _coded(findings: Iterable[str]) -> tuple[Finding, ...]:
    return tuple(Finding.of(finding) for finding in findings)


def _refusal(exc: ReadError) -> Finding:
    text = str(exc)
    if "as an image: it is" in text or "DICOMDIR, an index" in text:
        return Finding(text, "not-an-image", Severity.WARNING, "left out")
    code = "sheared-grid" if "shear" in text else "unreadable"
    return Finding(text, code, Severity.ERROR, "refused")


def _check_dicom(path: Path, series: str | None) -> Iterable[Checked]:
    files, what, listing = files_of(path)
    found = find_series(files, what)
    if general := (*listing, *found.findings):
        yield Checked(path.name or str(path), general)
    for info in found.series if series is None else matching_series(found.series, series, what):
        yield Checked(str(info), _check_series(info, found))


def _check_series(info: SeriesInfo, found: Found) -> tuple[Finding, ...]:
    findings = []
    if info.localizer or info.secondary:
        kind = "localizers (scout images)" if info.localizer else "secondary captures (screen shots and the like)"
        sentence = f"{kind}: left out where another series is there"
        findings.append(Finding(sentence, "set-aside", Severity.INFO, "left out beside others"))
    else:
        findings += mixed_finding([other for other in found.series if other.uid == info.uid])
    stack, told = examine_frames(info.frames)
    findings += [*told, *content_findings(info.frames[0])]
    if stack is None:
        return tuple(findings)
    if not is_assumed(findings):
        findings += spacing_findings(stack.geometry)
    if info.volumes:
        sentence = f"{len(info.volumes)} frames, told apart by {stack.split_by}; choose one with --frame"
        findings.append(Finding(sentence, "several-frames", Severity.INFO, "first frame checked"))
    try:
        array = decode(stack.volumes[0])
    except ReadError as exc:
        return (*findings, _refusal(exc))
    if array.ndim == 3:
        findings += unit_findings(info.modality, float(array.min()), float(array.max()))
    return tuple(findings)
