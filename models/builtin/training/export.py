"""Write a checkpoint's averaged weights as the 2D network's file, and read a member's back."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from promptseg.models.builtin.training.network import PromptPair
from promptseg.models.builtin.training.onnx_file import read_weights, write_network
from promptseg.models.families.builtin.views import CHANNELS

__all__ = ["export", "load_pair", "read_member"]


def load_pair(checkpoints: dict[str, Path], shipped: Path) -> PromptPair:
    """Both members, in evaluation mode on the CPU.

    Args:
        checkpoints: of members that were trained anew; their averaged weights are taken.
        shipped: a file written by ``export`` that gives the others.
    """
    pair = PromptPair()
    for name, member in pair.members.items():
        if name in checkpoints:
            state = torch.load(checkpoints[name], map_location="cpu", weights_only=True)["average"]
        else:
            state = read_member(shipped, name)
        member.load_state_dict(state)
    return pair.eval()


def read_member(path: Path, member: str) -> dict[str, Tensor]:
    """One member's weights in a file written by ``export``, named as in ``PromptNet``'s state."""
    prefix = f"members.{member}."
    return {key.removeprefix(prefix): value for key, value in read_weights(path).items() if key.startswith(prefix)}


def export(checkpoints: dict[str, Path], shipped: Path, out: Path) -> str:
    """Write ``out``; returns its sha256. ``checkpoints`` and ``shipped`` as in ``load_pair``.

    The batch and both edges stay free; edges must be multiples of 32.
    """
    return write_network(load_pair(checkpoints, shipped), (2, len(CHANNELS), 128, 128), ("height", "width"), out)
