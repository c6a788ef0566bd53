"""Files appear whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from promptseg.errors import WriteError

__all__ = ["all_or_nothing"]


@contextmanager
def all_or_nothing(path: Path, *, parents: bool = False) -> Iterator[Path]:
    """Give a temporary folder beside ``path``; what was written there moves beside ``path`` when the block ends well.

    The folder lies on the same file system, so each move is one atomic rename. The file called ``path.name`` moves
    last: a reader that sees it finds its companions (a ``.raw``, a label description) already there. When the block
    fails nothing appears under a final name, and the folder goes. ``parents``: a missing target folder is made.

    Raises:
        WriteError: the target folder is missing or not writable, or the disk is full.
    """
    if path.is_dir():
        raise WriteError(f"cannot write {path}: it is a folder; expected the name of a file")
    if not parents and not path.parent.is_dir():
        raise WriteError(f"cannot write {path}: the folder {path.parent} does not exist")
    try:
        if parents:
            path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent))
    except OSError as exc:
        raise WriteError(f"cannot write {path}: {exc.strerror or type(exc).__name__}") from exc
    try:
        yield folder
        for file in sorted(folder.iterdir(), key=lambda f: f.name == path.name):
            file.replace(path.parent / file.name)
    except OSError as exc:
        raise WriteError(f"cannot write {path}: {exc.strerror or type(exc).__name__}") from exc
    finally:
        shutil.rmtree(folder, ignore_errors=True)
