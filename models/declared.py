"""Models that other packages bring: declared by an entry point, named like any other model from then on.

    [project.entry-points."promptseg.models"]
    my-model = "my_package.model:MyModel"     # called with the device ("auto", "cpu", "cuda:0"), gives a Predictor

``promptseg.models.predictor`` has the contract; docs/tutorials/own-model.md has one in twenty lines.
"""

from __future__ import annotations

import functools
from importlib.metadata import EntryPoint, entry_points

from promptseg.errors import ModelError, PromptsegError
from promptseg.models.predictor import Predictor
from promptseg.models.runtime import checked_device

__all__ = ["GROUP", "declared_models", "load_declared", "require_predictor"]

GROUP = "promptseg.models"


def declared_models() -> dict[str, EntryPoint]:
    """Return the models that installed packages declare, by id."""
    return {entry.name: entry for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name)}


def load_declared(model_id: str, device: str = "auto") -> Predictor:
    """Return a declared model, loaded once for each device.

    Raises:
        ModelError: its package breaks, or what it gives is no predictor.
        DeviceError: no such name of a device.
    """
    return _loaded(model_id, checked_device(device))


@functools.cache
def _loaded(model_id: str, device: str) -> Predictor:
    entry = declared_models()[model_id]
    try:
        made = entry.load()(device)
    except PromptsegError:
        raise
    except Exception as exc:
        raise ModelError(f"the model {model_id!r} ({entry.value}) cannot be loaded: {exc!r}") from exc
    return require_predictor(made)


def require_predictor(model: object) -> Predictor:
    """Return an object that somebody gave as a model.

    Raises:
        ModelError: it lacks a part of the contract; the message names it.
    """
    lacking = [name for name in ("model_id", "embed", "predict") if not hasattr(model, name)]
    if lacking or not isinstance(model.model_id, str):  # type: ignore[attr-defined]  # has it by now
        what = f"without {', '.join(lacking)}" if lacking else "whose model_id is no text"
        raise ModelError(
            "expected a model's id, or an object with model_id (text), embed(image) and predict(embedding, prompts, "
            f"prior), got a {type(model).__name__} {what}; see promptseg.models.predictor"
        )
    return model  # type: ignore[return-value]  # has every part
