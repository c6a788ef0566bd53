"""Writing surfaces: binary STL (one object) and OBJ (any number, with colours), in LPS millimetres.

Neither format has a field for the frame; both files say ``SPACE=LPS`` where 3D Slicer looks for it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from promptseg.errors import WriteError
from promptseg.io.atomic import all_or_nothing
from promptseg.io.label_values import present_values
from promptseg.measure.surface import SurfaceMesh, surface_mesh
from promptseg.volume.labelmap import Label, Labelmap

__all__ = ["MESH_EXTENSIONS", "write_mesh"]

MESH_EXTENSIONS = (".stl", ".obj")
HEADER = "promptseg surface; SPACE=LPS; mm; research use only"  # must not begin with "solid": that means text
STL_HEADER_BYTES = 80
STL_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def write_mesh(labelmap: Labelmap, path: str | Path, *, labels: Sequence[int | str] | None = None) -> tuple[Path, ...]:
    """Write the surfaces of labels.

    Args:
        labelmap: the mask.
        path: ``.stl`` (one label) or ``.obj`` (any number; colours go into ``<stem>.mtl`` beside it).
        labels: names or values; None: all that have a voxel.

    Returns:
        All files written, ``path`` first.

    Raises:
        WriteError: another extension, several labels for STL, or a label without a voxel.
        PromptError: no such label.
    """
    path = Path(path).expanduser()
    extension = path.suffix.lower()
    if extension not in MESH_EXTENSIONS:
        raise WriteError(f"cannot write {path}: expected a name that ends with {' or '.join(MESH_EXTENSIONS)}")
    present = present_values(labelmap.array)
    chosen = [labelmap.label(key) for key in (present if labels is None else labels)]
    empty = [label.name for label in chosen if label.value not in present]
    if empty or not chosen:
        what = f"label {empty[0]!r} has no voxel" if empty else "the mask has no voxel"
        raise WriteError(f"cannot write {path}: {what}, so there is no surface")
    if extension == ".stl" and len(chosen) > 1:
        several = ", ".join(label.name for label in chosen)
        raise WriteError(f"cannot write {path}: STL holds one object, got {several}; choose one label, or write .obj")
    meshes = [surface_mesh(labelmap.mask(label.value), labelmap.geometry) for label in chosen]
    with all_or_nothing(path) as folder:
        if extension == ".stl":
            (folder / path.name).write_bytes(_stl(meshes[0]))
            return (path,)
        materials = path.with_suffix(".mtl")
        names = _unique_names(chosen)
        (folder / path.name).write_text(_obj(meshes, names, materials.name), encoding="utf-8")
        (folder / materials.name).write_text(_mtl(chosen, names), encoding="utf-8")
    return (path, materials)


def _stl(mesh: SurfaceMesh) -> bytes:
    """Return a binary STL: 80 bytes of text, the number of triangles, 50 bytes for each."""
    corners = mesh.corners
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    records = np.zeros(len(corners), STL_TRIANGLE)
    records["normal"] = normals / np.where(lengths > 0, lengths, 1.0)
    records["corners"] = corners
    header = HEADER.encode("ascii").ljust(STL_HEADER_BYTES, b" ")
    return header + len(records).to_bytes(4, "little") + bytes(records.tobytes())


def _unique_names(labels: Sequence[Label]) -> list[str]:
    """Return names without spaces, each with its value, so that no two are the same."""
    return [f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', label.name) or 'label'}_{label.value}" for label in labels]


def _obj(meshes: Sequence[SurfaceMesh], names: Sequence[str], materials: str) -> str:
    lines = [f"# {HEADER}", f"mtllib {materials}"]
    first = 1  # OBJ counts vertices from 1 through the whole file
    for mesh, name in zip(meshes, names, strict=True):
        lines += [f"o {name}", f"usemtl {name}"]
        lines += [f"v {x:.4f} {y:.4f} {z:.4f}" for x, y, z in mesh.vertices.tolist()]
        lines += [f"f {a} {b} {c}" for a, b, c in (mesh.triangles + first).tolist()]
        first += len(mesh.vertices)
    return "\n".join(lines) + "\n"


def _mtl(labels: Sequence[Label], names: Sequence[str]) -> str:
    lines = [f"# {HEADER}"]
    for label, name in zip(labels, names, strict=True):
        red, green, blue = (value / 255 for value in label.color)
        lines += [f"newmtl {name}", f"Kd {red:.4f} {green:.4f} {blue:.4f}"]
    return "\n".join(lines) + "\n"
