"""What was pulled is remembered by its sha256: a checkpoint that changed since then is not loaded."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from promptseg.errors import ModelError
from promptseg.models.weights.digests import check_hashes
from promptseg.models.weights.store import Store
from promptseg.models.weights.trust import TrustFile
from promptseg.wholebody.task import Model
from promptseg.wholebody.weights import find_model

__all__ = ["card_id", "check_unchanged", "pin_checkpoints"]

CHECKPOINTS = "fold_*/checkpoint_final.pth"


def card_id(model: Model) -> str:
    """Return the model's id in the store."""
    return f"totalsegmentator-{model.dataset_id}"


def _pin_name(model: Model, path: Path) -> str:
    return f"{model.folder}/{path.parent.name}/{path.name}"


def check_unchanged(models: Iterable[Model]) -> None:
    """Compare the checkpoints that were pulled here with what was pinned then; others are the user's own affair.

    Raises:
        ModelError: one has changed. A checkpoint is loaded as Python objects, so a strange one could do anything.
    """
    trust = Store().trust
    for model in models:
        folder = find_model(model)
        for path in sorted(folder.glob(CHECKPOINTS)):
            name = _pin_name(model, path)
            pin = trust.pinned(card_id(model), name)
            if pin is None or trust.is_unchanged(card_id(model), name, path):
                continue
            sha256, _ = check_hashes(path, ())
            if sha256 != pin.sha256:
                raise ModelError(
                    f"{path} is not the file that was pulled on {pin.date}: expected sha256 {pin.sha256}, "
                    f"got {sha256}; it is not loaded; delete {folder.parent} and pull it again"
                )


def pin_checkpoints(model: Model, trust: TrustFile) -> None:
    """Remember the checkpoints as they are now."""
    for path in sorted(find_model(model).glob(CHECKPOINTS)):
        sha256, _ = check_hashes(path, ())
        trust.pin(card_id(model), _pin_name(model, path), path, sha256, "trust-on-first-use")
