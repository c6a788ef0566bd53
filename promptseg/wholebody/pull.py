"""``promptseg models pull totalsegmentator:TASK``: TotalSegmentator's weights through the model manager's store.

The store downloads (resumed where it stopped, one process at a time) and pins what came; the archive is then unpacked
under a temporary name and appears whole. Nobody publishes hashes of these archives, so the first download asks for
``--trust-on-first-use``. What was unpacked is pinned too: a checkpoint that changed later is not loaded.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from promptseg.errors import ModelError
from promptseg.models.weights.registry import ModelCard, WeightFile
from promptseg.models.weights.store import Store
from promptseg.wholebody.engine import WholeBody
from promptseg.wholebody.task import Model
from promptseg.wholebody.trusted import card_id, pin_checkpoints
from promptseg.wholebody.weights import find_model, weights_folder

__all__ = ["PREFIX", "engine_of", "pull_totalsegmentator"]

PREFIX = "totalsegmentator:"
SUBSET = "+subset"  # also what finds the region of a subset of classes
HASH_SOURCE = "TotalSegmentator publishes none"
OnBytes = Callable[[int, int], None]


def pull_totalsegmentator(
    name: str, store: Store | None = None, *, trust_on_first_use: bool = False, on_bytes: OnBytes | None = None
) -> tuple[Path, ...]:
    """Fetch everything that a task needs and return the folders of its models.

    Args:
        name: "totalsegmentator:" and a task, with "_fast" or "_fastest" and "+subset" behind it as wanted.
        store: where downloads are kept until they are unpacked.
        trust_on_first_use: take what comes, and pin it.
        on_bytes: progress of the archive at hand.

    Raises:
        MissingExtraError: TotalSegmentator is not installed.
        ModelError: unknown task, no licence number, no network, nobody publishes these weights, a damaged archive.
    """
    store = store or Store()
    found = []
    for model in engine_of(name).models:
        if not _is_here(model):
            if model.url:
                card = _card(model)
                archive = store.pull(card, trust_on_first_use=trust_on_first_use, on_bytes=on_bytes)["archive"]
                _unpack(archive, model)
                archive.unlink()
            else:
                _from_licence_server(model, store)
            pin_checkpoints(model, store.trust)
        found.append(find_model(model))
    return tuple(found)


def engine_of(name: str) -> WholeBody:
    """Return the engine whose weights have this name: "totalsegmentator:total_fast+subset"; the prefix may lack."""
    text = name.removeprefix(PREFIX)
    task, plus, _ = text.partition(SUBSET)
    speed = next((word for word in ("fastest", "fast") if task.endswith(f"_{word}")), "")
    task = task.removesuffix(f"_{speed}") if speed else task
    engine = WholeBody(task, fast=speed == "fast", fastest=speed == "fastest")
    if plus:
        classes = list(engine.task.classes.values())
        engine = WholeBody(task, fast=speed == "fast", fastest=speed == "fastest", roi_subset=classes)
    return engine


def _is_here(model: Model) -> bool:
    try:
        find_model(model)
    except ModelError:
        return False
    return True


def _card(model: Model) -> ModelCard:
    """The model as the store sees it; the address comes from TotalSegmentator's own registry."""
    return ModelCard(
        id=card_id(model),
        family="totalsegmentator",
        title=model.name,
        dimensions=3,
        prompts=("text",),
        licence="Apache-2.0",
        commercial_use=True,
        source="https://github.com/wasserth/TotalSegmentator (Wasserthal et al., Radiology: AI 2023)",
        files=(WeightFile(f"{model.name}.zip", role="archive", urls=(model.url,), hash_source=HASH_SOURCE),),
    )


def _unpack(archive: Path, model: Model) -> None:
    """Unpack an archive beside its place, look at it, then give it its name."""
    target = weights_folder() / model.name
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=target.parent) as name:
        try:
            with zipfile.ZipFile(archive) as content:
                content.extractall(name)  # zipfile keeps every member below the folder
        except (zipfile.BadZipFile, OSError) as exc:
            raise ModelError(f"{archive} cannot be unpacked: {exc}; delete it and pull it again") from exc
        _settle(Path(name) / model.name, target, model)


def _settle(unpacked: Path, target: Path, model: Model) -> None:
    if not (unpacked / model.folder / "plans.json").is_file():
        raise ModelError(f"expected {model.name}/{model.folder}/plans.json in what was downloaded, found none")
    if target.exists():  # a copy that lacks a file: this one is whole
        shutil.rmtree(target)
    unpacked.rename(target)


def _from_licence_server(model: Model, store: Store) -> None:
    from promptseg.wholebody.totalseg import download_licensed

    if store.settings.offline:
        raise ModelError(
            f"the weights {model.name} are not here and the settings say offline; copy the folder {model.name} from "
            f"another machine to {weights_folder()}"
        )
    target = weights_folder() / model.name
    target.parent.mkdir(parents=True, exist_ok=True)
    with store.locked(card_id(model)), tempfile.TemporaryDirectory(prefix=".unpacking-", dir=target.parent) as name:
        download_licensed(model, Path(name))
        _settle(Path(name) / model.name, target, model)
