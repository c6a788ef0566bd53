"""Write a 3D network's averaged weights as one ONNX file that ONNX Runtime runs without torch."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from promptseg.models.builtin.training.onnx_file import read_weights, write_network
from promptseg.models.builtin.training3d.network import VolumeNet
from promptseg.models.families.builtin.volume_views import CHANNELS

__all__ = ["export", "load_average", "read_network"]

PREFIX = "network."
"""Of the weights' names in the file."""

EXAMPLE = (2, len(CHANNELS), 32, 48, 64)
"""Shape that the network is traced with."""


class _Scored(nn.Module):
    """The network with its quality as a score in 0..1."""

    def __init__(self, network: VolumeNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, view: Tensor) -> tuple[Tensor, Tensor]:
        """(n, channels, d, h, w) -> mask logits (n, 1, d, h, w) and scores (n,), the predicted Dice."""
        logits, quality = self.network(view)
        return logits, torch.sigmoid(quality)


def export(network: VolumeNet, out: Path) -> str:
    """Write ``out``; returns its sha256. The batch and all edges stay free."""
    return write_network(_Scored(network.eval()), EXAMPLE, ("depth", "height", "width"), out)


def load_average(checkpoint: Path) -> VolumeNet:
    """The network of a checkpoint with its averaged weights, in evaluation mode on the CPU."""
    return _with_weights(torch.load(checkpoint, map_location="cpu", weights_only=True)["average"])


def read_network(path: Path) -> VolumeNet:
    """The network in a file written by ``export``."""
    return _with_weights(
        {name.removeprefix(PREFIX): value for name, value in read_weights(path).items() if name.startswith(PREFIX)}
    )


def _with_weights(state: dict[str, Tensor]) -> VolumeNet:
    """A network as wide as its weights say."""
    count = len({name.split(".")[1] for name in state if name.startswith("down.")})
    network = VolumeNet(tuple(len(state[f"down.{level}.first.weight"]) for level in range(count)))
    network.load_state_dict(state)
    return network.eval()
