"""Training that can be interrupted: what it has reached lies in one file, from which it goes on as if never stopped."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

__all__ = ["ResumableTraining"]


class ResumableTraining:
    """A network, its running average and its optimiser, as of the last block of steps.

    Args:
        network: at its start.
        optimiser: of its parameters.
        folder: of the checkpoint ``last.pt``; where that lies there already, the training goes on from it.
        device: of the network.

    Attributes:
        average: the weights' running average, as the network's state.
        step: optimiser steps done.
        samples: samples seen.
        spent_s: time spent.
    """

    def __init__(self, network: nn.Module, optimiser: torch.optim.Optimizer, folder: Path, device: str) -> None:
        self.network, self.optimiser = network, optimiser
        self.average: dict[str, Tensor] = {k: v.detach().clone() for k, v in network.state_dict().items()}
        self.step, self.samples, self.spent_s = 0, 0, 0.0
        self.checkpoint = folder / "last.pt"
        if self.checkpoint.exists():
            state = torch.load(self.checkpoint, map_location=device, weights_only=True)
            self.network.load_state_dict(state["network"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.average = state["average"]
            self.step, self.samples, self.spent_s = state["step"], state["samples"], state["spent_s"]

    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        state = {
            "network": self.network.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "samples": self.samples,
            "spent_s": self.spent_s,
        }
        part = self.checkpoint.with_suffix(".part")
        torch.save(state, part)
        part.replace(self.checkpoint)

    def take_into_average(self, decay: float) -> None:
        """Move the average towards the present weights, further in the first steps than ``1 - decay``."""
        keep = min(decay, self.step / (self.step + 10))
        with torch.no_grad():
            for key, value in self.network.state_dict().items():
                self.average[key].lerp_(value, 1 - keep)
