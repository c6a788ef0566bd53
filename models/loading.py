"""From a model's id to a loaded predictor, once per process and device."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache

from promptseg.errors import ModelError
from promptseg.models.predictor import Predictor
from promptseg.models.registry import ModelCard, model_card
from promptseg.models.runtime import Device, choose_device

__all__ = ["load_predictor"]

_LOCK = threading.Lock()


def _builtin(card: ModelCard, _device: Device) -> Predictor:
    from promptseg.models.builtin import BUILTIN_ONNX
    from promptseg.models.families.builtin import BuiltinPredictor

    return BuiltinPredictor(BUILTIN_ONNX, model_id=card.id)


def _classical(card: ModelCard, _device: Device) -> Predictor:
    from promptseg.models.families.classical import ClassicalPredictor

    return ClassicalPredictor(card.id)


_FAMILIES: dict[str, Callable[[ModelCard, Device], Predictor]] = {"builtin": _builtin, "classical": _classical}


@cache
def _load(model_id: str, device: Device) -> Predictor:
    card = model_card(model_id)
    if card.family not in _FAMILIES:
        raise ModelError(f"model {model_id!r} names the family {card.family!r}; known: {', '.join(_FAMILIES)}")
    return _FAMILIES[card.family](card, device)


def load_predictor(model_id: str, device: str = "auto") -> Predictor:
    """Return the loaded model; the same object for the same model and device.

    Args:
        model_id: an id of the registry.
        device: see ``choose_device``.

    Raises:
        UnknownModelError: no such id.
        DeviceError: the device is not there.
        ModelError: the weights are missing or broken.
    """
    model_card(model_id)  # an unknown model is reported before an unknown device
    chosen = choose_device(device)
    with _LOCK:
        return _load(model_id, chosen)
