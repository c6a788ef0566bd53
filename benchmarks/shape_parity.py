"""Volumes, surface, sphericity and 3D diameter of this project beside pyradiomics, on the same masks.

    python benchmarks/shape_parity.py [--data ../shared/data] [--make PYTHON]

Prints a Markdown table. pyradiomics 3.0.1 wants an older NumPy than this project, so its numbers are made once by an
interpreter that has it and kept in benchmarks/shape_pyradiomics.json; ``--make PYTHON`` makes them anew:

    python -m venv radiomics && radiomics/bin/pip install "numpy<2" "setuptools<70" wheel cython versioneer
    radiomics/bin/pip install --no-build-isolation pyradiomics==3.0.1
    python benchmarks/shape_parity.py --data ../shared/data --make radiomics/bin/python
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from promptseg.io import read_labelmap, write_labelmap
from promptseg.measure import measure_shape
from promptseg.volume import Geometry, Labelmap

KEPT = Path(__file__).with_name("shape_pyradiomics.json")
# Features whose definitions agree, as pyradiomics names them.
FEATURES = ("VoxelVolume", "MeshVolume", "SurfaceArea", "Sphericity", "Maximum3DDiameter")
LABELS = {
    "mr_hippocampus_001/label.nii.gz": 1,
    "mr_spinalcord_t1/label_t1w_seg-manual.nii.gz": 1,
    "mr_pyradiomics_brain1_nrrd/label.nrrd": 1,
    "mr_pyradiomics_breast1_nrrd/label.nrrd": 1,
    "ct_ts_trunk3mm/label_total.nii.gz": 5,
}
ASKED = """
import json, sys, warnings
warnings.simplefilter("ignore")
import SimpleITK as sitk
from radiomics import __version__, setVerbosity, shape
setVerbosity(60)
found = {}
for name, path in json.load(sys.stdin).items():
    mask = sitk.ReadImage(path)
    feature = shape.RadiomicsShape(sitk.Cast(mask, sitk.sitkFloat64), mask, label=1)
    feature.enableAllFeatures()
    found[name] = {key: float(value) for key, value in feature.execute().items() if key in FEATURES}
print(json.dumps({"pyradiomics": __version__.lstrip("v"), "cases": found}))
"""


def cases(data: Path | None) -> Iterator[tuple[str, np.ndarray, Geometry]]:
    """Yield (name, bool mask (z, y, x), its grid): five bodies on an oblique grid of unequal steps, and real labels."""
    turned = (0.8, -0.36, 0.48, 0.6, 0.48, -0.64, 0.0, 0.8, 0.6)
    grid = Geometry((24, 44, 40), (0.9, 0.7, 1.7), (-31.0, 47.5, 12.25), turned)
    z, y, x = (
        np.indices(grid.shape)[a] * s - (n - 1) * s / 2
        for a, (s, n) in enumerate(zip((1.7, 0.7, 0.9), grid.shape, strict=True))
    )
    bodies = {
        "ball, 12 mm": z**2 + y**2 + x**2 <= 144,
        "ellipsoid, 16 x 6 x 11 mm": (z / 16) ** 2 + (y / 6) ** 2 + (x / 11) ** 2 <= 1,
        "brick": (abs(z) < 9) & (abs(y) < 6) & (abs(x) < 8),
        "ring": (np.hypot(x, y) - 9) ** 2 + z**2 <= 16,
        "two balls": np.minimum((x - 9) ** 2, (x + 9) ** 2) + y**2 + z**2 <= 36,
    }
    for name, mask in bodies.items():
        yield name, mask, grid
    if data is None:
        return
    for file, value in LABELS.items():
        labels = read_labelmap(data / file)
        yield file.partition("/")[0], labels.mask(value), labels.geometry


def ours(mask: np.ndarray, geometry: Geometry) -> dict[str, float]:
    """Return this project's numbers under pyradiomics' names, mm."""
    found = measure_shape(mask, geometry)
    values = (found.volume_ml * 1000, found.mesh_volume_ml * 1000, found.surface_mm2, found.sphericity)
    return dict(zip(FEATURES, (*values, found.diameter_3d.length_mm), strict=True))


def make(python: str, data: Path | None) -> None:
    """Ask an interpreter that has pyradiomics, and keep what it answers."""
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for number, (name, mask, geometry) in enumerate(cases(data)):
            path = Path(folder) / f"{number}.nrrd"
            write_labelmap(Labelmap(mask.astype(np.uint8), geometry, {}), path)
            files[name] = str(path)
        code = f"FEATURES = {FEATURES!r}\n{ASKED}"
        done = subprocess.run([python, "-c", code], input=json.dumps(files), capture_output=True, text=True, check=True)
    KEPT.write_text(json.dumps(json.loads(done.stdout), indent=1) + "\n", encoding="utf-8")


def table(data: Path | None) -> list[str]:
    """Return the lines of the Markdown table."""
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    lines = [
        "| mask | | voxel volume, mm³ | mesh volume, mm³ | surface, mm² | sphericity | 3D diameter, mm |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, mask, geometry in cases(data):
        for program, found in (
            ("promptseg", ours(mask, geometry)),
            (f"pyradiomics {kept['pyradiomics']}", kept["cases"][name]),
        ):
            digits = ("10.3f", "10.3f", "10.3f", ".6f", ".5f")
            cells = [f"{found[key]:{form}}".strip() for key, form in zip(FEATURES, digits, strict=True)]
            lines.append(f"| {name} | {program} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--make", metavar="PYTHON")
    given = parser.parse_args()
    if given.make:
        make(given.make, given.data)
    print("\n".join(table(given.data)))
