"""A negative prompt never adds a voxel, whatever the model answers."""

import numpy as np
import pytest
from phantoms import SHAPE, X, Y, volume_of

import promptseg
from promptseg.models.families.oracle import OraclePredictor
from promptseg.models.predictor import Prediction
from promptseg.session.session import Session

LEFT = (Y - 35) ** 2 + (X - 25) ** 2 < 120
RIGHT = (Y - 35) ** 2 + (X - 60) ** 2 < 120
MIDDLE = SHAPE[0] // 2
ON_LEFT = promptseg.Point(voxel=(MIDDLE, 35, 25))
STROKE = np.array([[MIDDLE, 35, x] for x in range(28, 34)])
NEGATIVES = {
    "inside, off the middle": promptseg.Point(voxel=(MIDDLE, 35, 30), positive=False),
    "in the middle": promptseg.Point(voxel=(MIDDLE, 35, 25), positive=False),
    "on another object": promptseg.Point(voxel=(MIDDLE, 35, 60), positive=False),
    "on a slice that was carried to": promptseg.Point(voxel=(MIDDLE - 5, 36, 25), positive=False),
    "in another plane": promptseg.Point(voxel=(MIDDLE, 35, 30), positive=False, plane="coronal"),
    "a stroke": promptseg.Scribble(voxels=STROKE, positive=False),
}


class Eager(OraclePredictor):
    """Answers a newest click that is negative, or a negative stroke, with the whole slice."""

    def predict(self, embedding, prompts, prior=None):
        """Return the oracle's answer, or everything."""
        found = super().predict(embedding, prompts, prior)
        stroke = prompts.scribble is not None and (prompts.scribble < 0).any()
        if stroke or (len(prompts.positive) and not prompts.positive[-1]):
            return Prediction(np.full_like(found.logits, 8.0), 1.0)
        return found


@pytest.mark.parametrize("propagate", [True, False])
@pytest.mark.parametrize("prompt", NEGATIVES.values(), ids=list(NEGATIVES))
def test_a_negative_prompt_adds_nothing(prompt, propagate):
    session = Session(volume_of(LEFT, RIGHT), Eager(), promptseg.EngineOptions())
    session.add(ON_LEFT)
    before = session.mask()
    assert before.sum() > 5000
    session.add(prompt, propagate=propagate)
    if not propagate:
        session.propagate()
    assert not (session.mask() & ~before).any()


def test_a_negative_prompt_alone_makes_no_mask():
    session = Session(volume_of(LEFT, RIGHT), Eager(), promptseg.EngineOptions())
    session.add(NEGATIVES["on another object"])
    assert not session.mask().any()
