"""Weights on foot: from a USB stick, a shared folder or an archive, for machines without a network."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from promptseg.errors import ModelError, WriteError
from promptseg.models.export import exported, put_in_place
from promptseg.models.weights.registry import ROW_FILE, ModelCard, WeightFile, model_card, model_cards
from promptseg.models.weights.store import FIRST_USE, Store

__all__ = ["import_weights", "pack_weights"]


def import_weights(
    source: Path, store: Store, *, model_id: str | None = None, trust_on_first_use: bool = False
) -> tuple[str, ...]:
    """Take weights from a file, a folder or an archive (.tar, .tar.gz, .zip) into the store, checking each.

    A folder or archive holds ``<model id>/<file name>`` as the store itself does; a single file is recognised by its
    name, or belongs to ``model_id``. Exports come along where they were made from these very weights; nobody publishes
    a hash of an export, so they are as good as whoever packed them.

    Returns:
        "<model id>/<file name>" of everything taken.

    Raises:
        ModelError: nothing in it is known, a file is not what it should be, or a model lacks one (the models before it
            were taken).
    """
    if not source.exists():
        raise ModelError(f"expected a file, folder or archive, found nothing at {source}")
    if source.is_dir():
        return _import_folder(source, store, trust_on_first_use)
    if _is_archive(source):
        with tempfile.TemporaryDirectory(prefix="promptseg-import-") as name:
            _unpack(source, Path(name))
            return _import_folder(Path(name), store, trust_on_first_use)
    try:
        return (_import_file(source, store, model_id, trust_on_first_use),)
    except ModelError as exc:
        if "unchecked" not in exc.facts:
            raise
        # the file lies in no store yet: what helps is this command again
        again = f"promptseg models import {source} --as {exc.facts['unchecked']} --{FIRST_USE}"
        raise ModelError(
            f"nobody published a hash of {source.name}, so it cannot be checked; to trust it as it is, run: {again}",
            **exc.facts,
        ) from exc


def pack_weights(model_ids: Iterable[str], archive: Path, store: Store) -> int:
    """Write an uncompressed tar that ``import_weights`` reads on another machine; returns its size in bytes.

    Raises:
        ModelError: a model is not here, not checked, or has no weights.
        WriteError: the archive exists already, or cannot be written.
    """
    if archive.exists():
        raise WriteError(f"{archive} exists already; choose another name")
    packed = {model_id: _files(model_card(model_id, store.settings.models_dir), store) for model_id in model_ids}
    part = archive.with_name(archive.name + ".part")
    try:
        with tarfile.open(part, "w") as tar:
            for model_id, paths in packed.items():
                for path in paths:
                    tar.add(path, arcname=f"{model_id}/{path.relative_to(store.folder(model_id)).as_posix()}")
        part.replace(archive)
    except OSError as exc:
        raise WriteError(f"cannot write {archive}: {exc.strerror or exc}") from exc
    finally:
        part.unlink(missing_ok=True)
    return archive.stat().st_size


def _files(card: ModelCard, store: Store) -> list[Path]:
    """What a model needs elsewhere: its weights, a user's row, the exports of these weights; no unfinished files."""
    store.ensure(card)
    found = [store.path(card.id, file) for file in card.files]
    if not found:
        raise ModelError(
            f"model {card.id!r} has no weights to pack; it comes inside promptseg or through a package of its own"
        )
    if card.user:
        found.append(store.folder(card.id) / ROW_FILE)
    for place in _exports(store.folder(card.id), store.fingerprint(card)):
        found += sorted(path for path in place.iterdir() if path.is_file())
    return found


def _exports(folder: Path, fingerprint: str) -> list[Path]:
    """The folders with exports of these very weights."""
    return sorted({pair["encoder"].parent for pair in exported(folder, fingerprint).values()})


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
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError) as exc:
        raise ModelError(f"{archive} cannot be unpacked: {exc}") from exc


def _refuse_outside(name: str, archive: Path) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise ModelError(f"{archive} holds a file that would be written outside of its folder: {name!r}")


def _import_folder(folder: Path, store: Store, trust: bool) -> tuple[str, ...]:
    weights = [*_import_known(folder, store, trust), *_import_own(folder, store)]
    taken = [f"{card.id}/{name}" for card, name in weights]
    for card in {card.id: card for card, _ in weights}.values():
        taken += _import_exports(folder / card.id, card, store)
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


def _import_own(folder: Path, store: Store) -> Iterator[tuple[ModelCard, str]]:
    """Models that a user added on another machine: their row travels with them."""
    for row in sorted(folder.glob(f"*/{ROW_FILE}")):
        model_id = row.parent.name
        if model_id in model_cards(store.settings.models_dir):
            continue
        card = model_card(model_id, folder)
        sources = {file: row.parent / file.name for file in card.files}
        absent = [file.name for file, path in sources.items() if not path.is_file()]
        if absent or not sources:
            names = ", ".join(absent) or "file named in it"
            raise ModelError(f"expected the weights of model {model_id!r} beside {row}, found no {names}")
        store.adopt_own(card, sources, row.read_text(encoding="utf-8"))
        for file in card.files:
            yield card, file.name


def _import_exports(brought: Path, card: ModelCard, store: Store) -> Iterator[str]:
    """Take the exports that were made from the weights that are here now."""
    for place in _exports(brought, store.fingerprint(card)):
        final = store.folder(card.id) / place.name
        try:
            with store.locked(card.id), tempfile.TemporaryDirectory(prefix=".export-", dir=final.parent) as work:
                names = sorted(path.name for path in place.iterdir() if path.is_file())
                for name in names:
                    shutil.copyfile(place / name, Path(work) / name)
                put_in_place(Path(work), final)
        except OSError as exc:
            raise ModelError(f"cannot copy {place} to {final}: {exc.strerror or exc}") from exc
        yield from (f"{card.id}/{place.name}/{name}" for name in names)


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
