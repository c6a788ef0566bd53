"""The built-in 3D network behind the volume predictor's one verb."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from promptseg.errors import PromptError
from promptseg.models.families.builtin.session import open_network, open_on_openvino
from promptseg.models.families.builtin.volume_views import draw_view, emboldened, prompted_axis, to_view, with_previous
from promptseg.models.runtime import Device
from promptseg.models.volume_predictor import View, ViewAnswer

__all__ = ["BuiltinVolumePredictor"]

FloatArray = NDArray[np.float32]

VIEW_SIDES = (64, 96)
"""Edges of the views that the network was trained with; the first one by far the most."""

VIEW_MULTIPLE = 16
"""The network halves its view four times."""

MOST_VOXELS = 2 * 64**3
"""Views of so many voxels together go through the network at a time: more at once only take more memory."""

BOLDER = ((12.0, True), (8.0, False))
"""How else a correction is drawn: a click's reach in voxels, and whether the earlier answer is shown. The network holds
on to an earlier answer that is wrong as a whole, or far too small. Chosen among reaches of 3.5 to 12, with and without
the earlier answer, on 32 corrections of 16 objects (docs/adr/0033)."""

SURE, LEAST_GAIN = 0.75, 0.1
"""Predicted Dice from which on a correction stands, and by how much a bolder one has to be better: the network thinks
a little too well of answers to what it was not trained with. (0.9 and 0.05 give the 73 shared objects as much, but half
as many clicks more that lower the Dice, and take 1.8 times as long.)"""

MOST_GROWTH = 3.0
"""A bolder answer of more than so many times the voxels is another thing: of a thin vessel, what lies around it. (On
the same objects 0.5 to 1.8 times where it was right to take it, 5 and more at two arteries.)"""


class BuiltinVolumePredictor:
    """The 3D network trained on painted scenes: one pass a view, up to four for a correction that it doubts."""

    def __init__(
        self,
        path: Path,
        model_id: str = "builtin",
        *,
        threads: int | None = None,
        device: Device | None = None,
        runtime: str = "onnx",
    ) -> None:
        """Load the file.

        Args:
            path: the ONNX file.
            model_id: the registry's id.
            threads: cores used by one pass; all but at most four when None. Answers are the same bits for the same
                number.
            device: where it runs; the CPU when None.
            runtime: "onnx" (ONNX Runtime), or "openvino", which is for the CPU only and about twice as fast there.

        Raises:
            ModelError: the file cannot be read.
            DeviceError: ONNX Runtime took another execution provider than the device asks for.
        """
        on_openvino = runtime == "openvino"
        self._network = open_on_openvino(path, threads) if on_openvino else open_network(path, device, threads)
        self._model_id = model_id
        self.nbytes = path.stat().st_size
        self.described = self._network.described

    @property
    def model_id(self) -> str:
        """The registry's id."""
        return self._model_id

    @property
    def view_sides(self) -> tuple[int, ...]:
        """Edges of cubic views at which the network is good; the quickest first."""
        return VIEW_SIDES

    @property
    def view_multiple(self) -> int:
        """Every edge of a view is a multiple of it."""
        return VIEW_MULTIPLE

    def predict(self, views: Sequence[View]) -> tuple[ViewAnswer, ...]:
        """Answer a batch of views; see the contract in ``promptseg.models.volume_predictor``.

        A correction that the network itself thinks little of is asked for again, with more made of the clicks; where
        that is clearly better, it is what the network then corrects.

        Raises:
            PromptError: an edge of a view is no multiple of 16.
        """
        for view in views:
            if any(edge == 0 or edge % VIEW_MULTIPLE for edge in view.voxels.shape):
                raise PromptError(f"expected a view whose edges are multiples of 16, got {view.voxels.shape}")
        axes = [prompted_axis(view.prompts) for view in views]
        drawn = [draw_view(view, axis) for view, axis in zip(views, axes, strict=True)]
        found = self._run(drawn)
        doubted = [n for n, view in enumerate(views) if found[n].score < SURE and _corrects(view)]
        bolder = [self._run([emboldened(drawn[n], reach, previous) for n in doubted]) for reach, previous in BOLDER]
        taken = {}
        for n, *others in zip(doubted, *bolder, strict=True):
            best = _better(found[n], others)
            if best is not None:
                taken[n] = with_previous(drawn[n], best.probability)
        for n, once_more in zip(taken, self._run(list(taken.values())), strict=True):
            found[n] = once_more
        return tuple(
            ViewAnswer(np.ascontiguousarray(to_view(one.logits, axis), np.float32), one.score)
            for one, axis in zip(found, axes, strict=True)
        )

    def _run(self, drawn: Sequence[FloatArray]) -> list[ViewAnswer]:
        """Answer drawn views, as the network sees them; those of one shape that follow each other go together."""
        answers: list[ViewAnswer] = []
        for shape, group in groupby(drawn, key=lambda maps: maps.shape):
            alike, most = list(group), max(1, MOST_VOXELS // int(np.prod(shape[1:])))
            for first in range(0, len(alike), most):
                logits, scores = self._network.run(np.stack(alike[first : first + most]))
                answers += [ViewAnswer(one, float(score)) for one, score in zip(logits[:, 0], scores, strict=True)]
        return answers


def _better(plain: ViewAnswer, bolder: Sequence[ViewAnswer]) -> ViewAnswer | None:
    """Return the best of the bolder answers where it is clearly better than the plain one."""
    most = MOST_GROWTH * np.count_nonzero(plain.mask)
    likely = [one for one in bolder if one.score > plain.score + LEAST_GAIN and np.count_nonzero(one.mask) <= most]
    return max(likely, key=lambda one: one.score, default=None)


def _corrects(view: View) -> bool:
    """Whether something was clicked or painted upon an earlier answer."""
    return view.previous is not None and (len(view.prompts.points) > 0 or view.prompts.scribble is not None)
