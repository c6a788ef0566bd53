"""Every format that labels are written in: one table of names, extensions, media types and writers."""

from __future__ import annotations

from pathlib import Path

from promptseg.export.mesh import MESH_EXTENSIONS, write_mesh
from promptseg.io.write import write_labelmap
from promptseg.volume import Labelmap

__all__ = ["write_labels"]


def write_labels(labelmap: Labelmap, path: str | Path) -> tuple[Path, ...]:
    """Write labels as a mask or, ``.stl`` and ``.obj``, as surfaces; the extension says which.

    Returns:
        All files written, ``path`` first.

    Raises:
        WriteError: an unknown extension, or a format that does not hold these labels.
    """
    path = Path(path).expanduser()
    if path.suffix.lower() in MESH_EXTENSIONS:
        return write_mesh(labelmap, path)
    return write_labelmap(labelmap, path)
