"""Weights on foot: from a USB stick, a shared folder or an archive, for machines without a network."""

from __future__ import annotations

import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from promptseg.errors import ModelError, WriteError
from promptseg.models.registry import ROW_FILE, ModelCard, WeightFile, model_card, model_cards
from promptseg.models.store import Store

__all__ = ["import_weights", "pack_weights"]


def import_weights(
    source: Path, store: Store, *, model_id: str | None = None, trust_on_first_use: bool = False
) -> tuple[str, ...]:
    """Take weights from a file, a folder or an archive (.tar, .tar.gz, .zip) into the store, checking each.

    A folder or archive holds ``<model id>/<file name>`` as the store itself does; a single file is recognised by its
    name, or belongs to ``model_id``.

    Returns:
        "<model id>/<file name>" of everything taken.

    Raises:
        ModelError: nothing in it is known, or a file is not what it should be (those before it were taken).
    """
    if not source.exists():
        raise ModelError(f"expected a file, folder or archive, found nothing at {source}")
    if source.is_dir():
        return _import_folder(source, store, trust_on_first_use)
    if _is_archive(source):
        with tempfile.TemporaryDirectory(prefix="promptseg-import-") as name:
            _unpack(source, Path(name))
            return _import_folder(Path(name), store, trust_on_first_use)
    return (_import_file(source, store, model_id, trust_on_first_use),)


def pack_weights(model_ids: Iterable[str], archive: Path, store: Store) -> int:
    """Write an uncompressed tar that ``import_weights`` reads on another machine; returns its size in bytes.

    Raises:
        ModelError: a model is not here or not checked.
        WriteError: the archive exists already.
    """
    if archive.exists():
        raise WriteError(f"{archive} exists already; choose another name")
    part = archive.with_name(archive.name + ".part")
    try:
        with tarfile.open(part, "w") as tar:
            for model_id in model_ids:
                card = model_card(model_id, store.settings.models_dir)
                store.ensure(card)
                for path in sorted(p for p in store.folder(model_id).rglob("*") if p.is_file()):
                    tar.add(path, arcname=f"{model_id}/{path.relative_to(store.folder(model_id)).as_posix()}")
        part.replace(archive)
    finally:
        part.unlink(missing_ok=True)
    return archive.stat().st_size


def _is_archive(path: Path) -> bool:
    # A .pt or .pth file is a zip as well; only the name tells what is meant.
    name = path.name.lower()
    return name.endswith((".tar", ".tar.gz", ".tgz", ".zip"))


def _unpack(archive: Path, folder: Path) -> None:
    """Write regular files below ``folder``; links, devices and names that lead outside are refused."""
    try:
        if archive.name.lower().endswith(".zip"):
            with zipfile.ZipFile(archive) as opened:
                for info in opened.infolist():
                    _refuse_outside(info.filename, archive)
                opened.extractall(folder)
        else:
            with tarfile.open(archive) as opened_tar:
                opened_tar.extractall(folder, filter="data")
    except (tarfile.TarError, zipfile.BadZipFile, OSError) as exc:
        raise ModelError(f"{archive} cannot be unpacked: {exc}") from exc


def _refuse_outside(name: str, archive: Path) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise ModelError(f"{archive} holds a file that would be written outside of its folder: {name!r}")


def _import_folder(folder: Path, store: Store, trust: bool) -> tuple[str, ...]:
    taken = [f"{card.id}/{name}" for card, name in _import_known(folder, store, trust)]
    taken += _import_own(folder, store)
    if not taken:
        ids = ", ".join(c.id for c in model_cards(store.settings.models_dir).values() if c.files)
        raise ModelError(f"expected <model id>/<file name> in {folder} for one of {ids}; found none")
    return tuple(taken)


def _import_known(folder: Path, store: Store, trust: bool) -> Iterator[tuple[ModelCard, str]]:
    for card in model_cards(store.settings.models_dir).values():
        for file in card.files:
            found = folder / card.id / file.name
            if found.is_file():
                store.adopt(card, file, found, trust_on_first_use=trust or card.user)
                yield card, file.name


def _import_own(folder: Path, store: Store) -> list[str]:
    """Models that a user added on another machine: their row travels with them."""
    taken: list[str] = []
    for row in sorted(folder.glob(f"*/{ROW_FILE}")):
        model_id = row.parent.name
        if model_id in model_cards(store.settings.models_dir):
            continue
        target = store.folder(model_id) / ROW_FILE
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(row.read_bytes())
        card = model_card(model_id, store.settings.models_dir)
        for file in card.files:
            store.adopt(card, file, row.parent / file.name, trust_on_first_use=True)
            taken.append(f"{model_id}/{file.name}")
    return taken


def _import_file(source: Path, store: Store, model_id: str | None, trust: bool) -> str:
    cards = model_cards(store.settings.models_dir)
    candidates: list[tuple[ModelCard, WeightFile]] = [
        (card, file)
        for card in cards.values()
        for file in card.files
        if (PurePosixPath(file.name).name == source.name if model_id is None else card.id == model_id)
    ]
    if model_id is not None and len(candidates) > 1:
        candidates = [(c, f) for c, f in candidates if PurePosixPath(f.name).name == source.name] or candidates
    if len(candidates) != 1:
        names = ", ".join(PurePosixPath(f.name).name for c in cards.values() for f in c.files)
        raise ModelError(f"expected a file named as in the registry ({names}) or --as ID, got {source.name}")
    card, file = candidates[0]
    store.adopt(card, file, source, trust_on_first_use=trust)
    return f"{card.id}/{file.name}"
