"""A user's own trained nnU-Net folder: its labels, and what must be true before it is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from promptseg.errors import ModelError

__all__ = ["find_own_model", "own_channel", "own_classes"]


def find_own_model(folder: str | Path) -> Path:
    """Return the folder that holds ``plans.json``: the one given, or the only such one just below.

    Raises:
        ModelError: there is none or more than one; or the model needs several image channels, or a first stage.
    """
    given = Path(folder).expanduser()
    found = [given] if (given / "plans.json").is_file() else sorted(p.parent for p in given.glob("*/plans.json"))
    if len(found) != 1:
        what = "none" if not found else f"{len(found)}: {', '.join(path.name for path in found)}"
        raise ModelError(f"expected a trained nnU-Net folder with plans.json, dataset.json and fold_0, found {what}")
    dataset = _read(found[0] / "dataset.json")
    channels = dataset.get("channel_names") or dataset.get("modality") or {}
    if len(channels) != 1:
        raise ModelError(f"expected a model for one image channel, got one for {len(channels)}")
    if found[0].name.endswith("3d_cascade_fullres"):
        raise ModelError("expected a model of one stage, got the second stage of a cascade; train 3d_fullres instead")
    return found[0]


def own_classes(folder: Path) -> dict[int, str]:
    """Return the model's label values and names.

    Raises:
        ModelError: ``dataset.json`` has no usable labels.
    """
    dataset = _read(folder / "dataset.json")
    labels = dataset.get("labels")
    if not isinstance(labels, dict):
        raise ModelError(f"expected labels in {folder / 'dataset.json'}, found none")
    order = dataset.get("regions_class_order")
    if any(isinstance(value, list) for value in labels.values()) and order:
        names = [name for name, value in labels.items() if value not in (0, [0])]
        return {int(value): name for name, value in zip(names, order, strict=False)}
    return {int(value): name for name, value in labels.items() if value != 0 and name != "ignore"}


def own_channel(folder: Path) -> str:
    """Return "CT", "MR" or what else the model's image channel is called."""
    dataset = _read(folder / "dataset.json")
    name = str(next(iter((dataset.get("channel_names") or dataset.get("modality") or {"0": ""}).values())))
    return "MR" if name.upper().startswith(("MR", "T1", "T2", "FLAIR")) else name.upper()


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise ModelError(f"expected nnU-Net's {path.name} in {path.parent}, but it cannot be read: {exc}") from exc
    if not isinstance(found, dict):
        raise ModelError(f"expected a JSON object in {path}, got {type(found).__name__}")
    return found
