"""The tables of docs/interop.md, made anew: outcome per robustness file, round trips, dciodvfy, metrics parity.

    python benchmarks/interop_tables.py [--data ../shared/data] [--write docs/interop.md]

Prints Markdown, or puts it between the markers of the document. Needs the real images; dciodvfy (Debian: dicom3tools)
where it is there.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from promptseg.errors import PromptsegError
from promptseg.export import (
    ImportOptions,
    read_dicom_seg,
    read_segmentation,
    read_source,
    write_dicom_seg,
    write_dicom_sr,
    write_rtstruct,
)
from promptseg.export.read import is_dicom_mask
from promptseg.io import read_labelmap, read_volume, write_labelmap
from promptseg.io.regrid import read_regridded
from promptseg.score.metrics import dice
from promptseg.volume import Geometry, Label, Labelmap

START, END = "<!-- tables: python benchmarks/interop_tables.py -->", "<!-- /tables -->"


def robustness(root: Path) -> Iterator[str]:
    """Yield a row per file or folder: read (with what was found), fixed on request, or the sentence of refusal."""
    yield from ("| file | outcome |", "| --- | --- |")
    parts = ("dicom_single", "volumes", "seg_labelmap", "rtstruct_single")
    folders = [path for path in sorted(root.iterdir()) if path.is_dir() and path.name not in parts]
    folders += [root / "seg_bitpacking_24x38x3" / name for name in ("image", "multiframe", "seg/label.seg")]
    files = [path for part in parts for path in sorted((root / part).iterdir()) if path.is_file()]
    for path in (*folders, *files):
        yield f"| {path.relative_to(root).as_posix()} | {_outcome(path, root)} |"


def _outcome(path: Path, root: Path) -> str:
    if path.is_file() and is_dicom_mask(path):
        return _as_mask(path)
    try:
        volume = read_volume(path)
    except PromptsegError as exc:
        said = str(exc).replace(str(path), path.name).replace(f"{root}/", "").replace("|", "/")
        return f"refused: {said}{_fixed(path)}"
    size = " × ".join(str(n) for n in volume.shape[::-1])
    codes = sorted({getattr(finding, "code", "note") for finding in volume.findings})
    return f"read, {size}{', colour' if volume.is_rgb else ''}" + (f" ({', '.join(codes)})" if codes else "")


def _as_mask(path: Path) -> str:
    """Say what a mask holds: on its own grid, or for contours, which have none, on one of this script's."""
    grid = Geometry((40, 100, 100), (2.0, 2.0, 4.0), (-100.0, -100.0, 0.0))
    try:
        found = read_segmentation(path)
        size = " × ".join(str(n) for n in found.geometry.shape[::-1])
    except PromptsegError as exc:
        if "contours but no grid" not in str(exc):
            return f"a mask, refused: {str(exc).replace(str(path), path.name)}"
        try:
            found, size = read_segmentation(path, ImportOptions(grid)), "contours"
        except PromptsegError as other:
            return f"contours, refused: {str(other).replace(str(path), path.name)}"
    pairs = len(found.overlapping())
    return f"a mask, {size}: {len(found.segments)} object(s)" + (f", {pairs} pair(s) overlap" if pairs else "")


def _fixed(path: Path) -> str:
    try:
        made = read_regridded(path).volume
    except PromptsegError:
        return ""
    return f" **Fixed on request** onto {' × '.join(str(n) for n in made.shape[::-1])} voxels."


def round_trips(data: Path) -> Iterator[str]:
    """Yield a row per mask and format: voxels that differ after writing and reading back, and the lowest Dice."""
    yield from ("| mask | through | labels | voxels changed | lowest Dice |", "| --- | --- | ---: | ---: | ---: |")
    volume = read_volume(data / "ct_ts_dicom_j2k" / "dicom")
    source = read_source(data / "ct_ts_dicom_j2k" / "dicom")
    labels = _on_grid(read_labelmap(data / "ct_ts_dicom_j2k" / "label_total.nii.gz"), volume.geometry)
    with tempfile.TemporaryDirectory() as folder:
        for ending in ("nii.gz", "nrrd", "seg.nrrd", "mha", "mhd", "tif"):
            path = write_labelmap(labels, Path(folder) / f"m.{ending}")[0]
            yield _trip("ct_ts_dicom_j2k", f".{ending}", labels, read_labelmap(path))
        for kind in ("binary", "labelmap"):
            path = write_dicom_seg(labels, Path(folder) / f"{kind}.dcm", source, kind=kind)
            yield _trip("ct_ts_dicom_j2k", f"SEG {kind}", labels, read_dicom_seg(path, source.geometry).labelmap())
        for holes in ("keyhole", "xor"):
            path = write_rtstruct(labels, Path(folder) / f"{holes}.dcm", source, holes=holes)
            found = read_segmentation(path, ImportOptions(source.geometry)).labelmap(overlap="last")
            yield _trip("ct_ts_dicom_j2k", f"RTSTRUCT {holes}", labels, found)
    yield from truths(data)


def truths(data: Path) -> Iterator[str]:
    """Yield a row per DICOM mask of another program beside the same mask in another format."""
    for case, mask, images, twin in (
        ("ct_dcmqi_liver3slice_seg", "seg_liver.dcm", "dicom", "liver_seg.nrrd"),
        ("robustness/seg_bitpacking_24x38x3", "seg/label.seg", "image", "nrrd/label.nrrd"),
        ("mm_sts001_sarcoma/CT", "rtstruct.dcm", "dicom", "label.nii.gz"),
        ("mm_sts001_sarcoma/PET", "rtstruct.dcm", "dicom", "label.nii.gz"),
    ):
        truth = read_labelmap(data / case / twin)
        one = Labelmap((truth.array > 0).astype(np.uint8), truth.geometry, {1: Label.default(1)})
        grid = ImportOptions(read_source(data / case / images).geometry)
        found = read_segmentation(data / case / mask, grid).segments[0]
        array = np.zeros(truth.array.shape, np.uint8)
        array[found.box] = found.crop
        yield _trip(case, f"{mask} against {twin}", one, Labelmap(array, truth.geometry, one.labels))


def _on_grid(labels: Labelmap, geometry: object) -> Labelmap:
    from promptseg.score.evaluate import resample_mask

    assert isinstance(geometry, Geometry)
    array = np.zeros(geometry.shape, labels.array.dtype)
    for value in labels.labels:
        array[resample_mask(labels.mask(value), labels.geometry, geometry)] = value
    return Labelmap(array, geometry, labels.labels)


def _trip(name: str, how: str, before: Labelmap, after: Labelmap) -> str:
    values = [value for value in before.labels if (before.array == value).any()]
    lowest = min(dice(before.array == value, after.array == value) for value in values)
    changed = int(np.count_nonzero(before.array != after.array))
    return f"| {name} | {how} | {len(values)} | {changed} | {lowest:.5f} |"


def conformance(data: Path) -> Iterator[str]:
    """Yield what dciodvfy says of one object of each kind: numbers, then every different message."""
    yield from ("| object | dciodvfy: errors | warnings |", "| --- | ---: | ---: |")
    if shutil.which("dciodvfy") is None:
        yield "| (not installed) | | |"
        return
    images = data / "ct_ts_dicom_j2k" / "dicom"
    source, volume = read_source(images), read_volume(images)
    array = np.zeros(source.geometry.shape, np.uint8)
    array[5:12, 200:300, 150:260], array[8:10, 230:250, 180:200] = 1, 0
    labels = Labelmap(array, source.geometry, {})
    messages: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        seg = write_dicom_seg(labels, Path(folder) / "seg.dcm", source)
        made = {
            "SEG binary": seg,
            "SEG labelmap": write_dicom_seg(labels, Path(folder) / "map.dcm", source, kind="labelmap"),
            "RTSTRUCT keyhole": write_rtstruct(labels, Path(folder) / "rt.dcm", source),
            "RTSTRUCT xor": write_rtstruct(labels, Path(folder) / "xor.dcm", source, holes="xor"),
            "SR TID 1500": write_dicom_sr(seg, Path(folder) / "sr.dcm", source, volume=volume),
        }
        for name, path in made.items():
            done = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, check=False)
            lines = (done.stdout + done.stderr).splitlines()
            counts = [sum(line.startswith(word) for line in lines) for word in ("Error", "Warning")]
            for said in dict.fromkeys(_message(line) for line in lines if line.startswith(("Error", "Warning"))):
                messages.setdefault(said, []).append(name)
            yield f"| {name} | {counts[0]} | {counts[1]} |"
    yield from ("", *(f"- {said} ({', '.join(names)})" for said, names in sorted(messages.items())))


def _message(line: str) -> str:
    """Return a message without item numbers and without the path above its last attribute."""
    line = re.sub(r"(?<=[)\w])\[\d+\]", "", line)
    return re.sub(r"</(?:[^>]*/)?([^/>]+)>", r"\1", line)


def tables(data: Path) -> str:
    """Return all tables with their headings."""
    import metrics_parity
    import shape_parity

    parts = {
        "Robustness": robustness(data / "robustness"),
        "Round trips": round_trips(data),
        "Conformance": conformance(data),
        "Metrics": metrics_parity.table(data),
        "Shape": shape_parity.table(data),
    }
    return "\n\n".join(f"### {title}\n\n" + "\n".join(lines) for title, lines in parts.items())


def main() -> None:
    """Parse and print, or write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--write", type=Path)
    given = parser.parse_args()
    text = tables(given.data)
    if given.write is None:
        print(text)
        return
    document = given.write.read_text(encoding="utf-8")
    pattern = re.escape(START) + ".*" + re.escape(END)
    given.write.write_text(re.sub(pattern, lambda _: f"{START}\n\n{text}\n\n{END}", document, flags=re.DOTALL), "utf-8")


if __name__ == "__main__":
    main()
