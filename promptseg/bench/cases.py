"""Which labelled objects a benchmark runs on: a list that anyone can write for their own images.

A case list is TOML. One ``[[image]]`` table names an image, its label file and the objects in it::

    [[image]]
    name = "ct-01"
    image = "ct-01/image.nii.gz"       # paths are relative to the root given by the caller
    label = "ct-01/label.nii.gz"
    modality = "CT"
    dimensions = [2, 3]                # 2: the slice with most of the object; 3: the whole volume
    targets = [
        { name = "spleen", value = 1, kind = "organ" },
        { name = "portal vein", value = [64, 65], kind = "thin vessel", dimensions = [3] },
        { name = "a nodule", value = 9, largest = true, strokes = "ct-01/strokes.png" },
    ]

Every key but ``name``, ``image`` and ``label`` may be left out, in a target the others override the image's own.
Without ``targets`` the image is one case: every voxel that is not 0. A folder with ``images/`` and ``labels/`` holding
files of equal names (up to the extension) needs no list at all.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptseg.errors import PromptError, ReadError, SettingsError, did_you_mean
from promptseg.prompts import Plane, parse_plane

__all__ = ["DEFAULT_KIND", "THIN_VESSEL", "Case", "cases_in_folder", "read_cases"]

THIN_VESSEL = "thin vessel"
DEFAULT_KIND = "object"
IMAGE_KEYS = ("name", "image", "label", "strokes", "targets")
CASE_KEYS = ("value", "modality", "kind", "set", "dimensions", "plane", "slice", "resample", "fill", "largest")
CASE_TYPES = {"modality": str, "kind": str, "set": str, "resample": bool, "fill": bool, "largest": bool}


@dataclass(frozen=True)
class Case:
    """One object of one labelled image.

    Attributes:
        name: unique in its list; it also seeds whatever is drawn at random for this case.
        image: file or DICOM folder.
        label: label file.
        values: the label values that make up the object; empty: every value that is not 0.
        modality: "CT", "MR", "US", "X-ray", ...: means are given per modality.
        kind: "organ", "bone", "lesion", ...: means are given per kind; "thin vessel" is also kept out of the main mean.
        dimensions: the protocols that it takes part in, of 2 and 3.
        plane: the plane of its 2D slice.
        slice_index: its 2D slice along ``plane``; None: the one with most of the object.
        resample: the label file lies knowingly on another grid; resample it (nearest neighbour) onto the image.
        fill: the label is a closed outline; fill it.
        largest: 2D: the slice's largest connected piece of it alone.
        set: the data set that it comes from; where cases name one, means over sets are given too.
        strokes: 2D: a picture of the slice's size with a person's strokes, 1 on the object and 2 around it; None: they
            are simulated.
    """

    name: str
    image: Path
    label: Path
    values: tuple[int, ...] = ()
    modality: str = "other"
    kind: str = DEFAULT_KIND
    dimensions: tuple[int, ...] = (2,)
    plane: Plane = Plane.AXIAL
    slice_index: int | None = None
    resample: bool = False
    fill: bool = False
    largest: bool = False
    set: str = ""
    strokes: Path | None = None

    @property
    def is_thin_vessel(self) -> bool:
        """True where ``kind`` is "thin vessel"."""
        return self.kind == THIN_VESSEL


def read_cases(path: str | Path, root: str | Path | None = None) -> tuple[Case, ...]:
    """Read a case list, or take a folder with ``images/`` and ``labels/`` as one.

    Args:
        path: a TOML file, or such a folder.
        root: folder that the list's paths start from; None: the list's own folder.

    Raises:
        SettingsError: not a case list; unknown or missing keys, impossible values, or a name that occurs twice.
        ReadError: no such file.
    """
    path = Path(path)
    if path.is_dir():
        return cases_in_folder(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ReadError(f"cannot read the case list {path}: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise SettingsError(f"{path} is not a TOML file: {exc}") from exc
    tables = content.get("image")
    if set(content) != {"image"} or not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
        raise SettingsError(
            f"expected [[image]] tables and nothing else in {path}, got {', '.join(content) or 'nothing'}"
        )
    base = path.parent if root is None else Path(root)
    cases = tuple(case for table in tables for case in _cases_of_table(table, base))
    names = [case.name for case in cases]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SettingsError(f"expected every case once in {path}; these occur more than once: {', '.join(twice)}")
    return cases


def cases_in_folder(folder: str | Path) -> tuple[Case, ...]:
    """Pair ``images/<name>.*`` with ``labels/<name>.*`` in name order, one case each, both protocols.

    Raises:
        ReadError: a folder is missing, or an image has no label of its name.
    """
    folder = Path(folder)
    images, labels = folder / "images", folder / "labels"
    if not (images.is_dir() and labels.is_dir()):
        raise ReadError(f"expected a folder with images/ and labels/ in it, got {folder}")
    by_stem = {_stem(path): path for path in labels.iterdir() if not path.name.startswith(".")}
    cases = []
    for image in sorted(path for path in images.iterdir() if not path.name.startswith(".")):
        if _stem(image) not in by_stem:
            raise ReadError(f"expected a label named like {image.name} in {labels}; there is none")
        cases.append(Case(_stem(image), image, by_stem[_stem(image)], dimensions=(2, 3)))
    if not cases:
        raise ReadError(f"expected images in {images}; it is empty")
    return tuple(cases)


def _stem(path: Path) -> str:
    name = path.name
    return name[: -len(".nii.gz")] if name.lower().endswith(".nii.gz") else path.stem


def _cases_of_table(table: Mapping[str, Any], base: Path) -> list[Case]:
    where = f"[[image]] {table.get('name', '(without a name)')!r}"
    _check_keys(table, (*IMAGE_KEYS, *CASE_KEYS), where)
    for key in ("name", "image", "label"):
        if not isinstance(table.get(key), str):
            raise SettingsError(f"expected a text under {key!r} in {where}, got {table.get(key)!r}")
    shared = {key: value for key, value in table.items() if key in CASE_KEYS} | _strokes(table, base, where)
    image, label = base / table["image"], base / table["label"]
    if "targets" not in table:
        return [_case(table["name"], image, label, shared, where)]
    cases = []
    for target in table["targets"]:
        if not isinstance(target, dict) or not isinstance(target.get("name"), str):
            raise SettingsError(f"expected each target of {where} as a table with a name, got {target!r}")
        here = f"target {target['name']!r} of {where}"
        _check_keys(target, ("name", "label", "strokes", *CASE_KEYS), here)
        own = {key: value for key, value in target.items() if key in CASE_KEYS} | _strokes(target, base, here)
        file = base / target["label"] if isinstance(target.get("label"), str) else label
        cases.append(_case(f"{table['name']}/{target['name']}", image, file, {**shared, **own}, here))
    return cases


def _strokes(table: Mapping[str, Any], base: Path, where: str) -> dict[str, Any]:
    if "strokes" not in table:
        return {}
    if not isinstance(table["strokes"], str):
        raise SettingsError(f"expected 'strokes' in {where} as a path, got {table['strokes']!r}")
    return {"strokes": base / table["strokes"]}


def _check_keys(table: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise SettingsError(f"unknown key {key!r} in {where}; known: {', '.join(known)}{did_you_mean(key, known)}")


def _case(name: str, image: Path, label: Path, keys: Mapping[str, Any], where: str) -> Case:
    try:
        plane = parse_plane(keys.get("plane", "axial"))
    except PromptError as exc:
        raise SettingsError(f"in {where}: {exc}") from exc
    dimensions = _integers(keys.get("dimensions", [2]), "dimensions", where)
    if not set(dimensions) <= {2, 3} or not dimensions:
        raise SettingsError(f"expected dimensions of 2 and 3 in {where}, got {keys['dimensions']!r}")
    index = keys.get("slice")
    if index is not None and (not isinstance(index, int) or isinstance(index, bool) or index < 0):
        raise SettingsError(f"expected a slice index >= 0 in {where}, got {index!r}")
    for key, kind in CASE_TYPES.items():
        if key in keys and not isinstance(keys[key], kind):
            raise SettingsError(f"expected {key!r} in {where} as {kind.__name__}, got {keys[key]!r}")
    return Case(
        name=name,
        image=image,
        label=label,
        values=_integers(keys.get("value", []), "value", where),
        modality=keys.get("modality", "other"),
        kind=keys.get("kind", DEFAULT_KIND),
        dimensions=dimensions,
        plane=plane,
        slice_index=index,
        resample=keys.get("resample", False),
        fill=keys.get("fill", False),
        largest=keys.get("largest", False),
        set=keys.get("set", ""),
        strokes=keys.get("strokes"),
    )


def _integers(value: Any, key: str, where: str) -> tuple[int, ...]:
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(v, int) and not isinstance(v, bool) and v > 0 for v in values):
        raise SettingsError(f"expected {key!r} in {where} as integers > 0, got {value!r}")
    return tuple(values)
