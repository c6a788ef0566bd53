"""How the built-in 3D network is asked: corrections that it doubts again, with more made of the clicks."""

import numpy as np
import pytest

from promptseg.models.builtin import BUILTIN_3D_ONNX
from promptseg.models.families.builtin import volume
from promptseg.models.families.builtin.session import Network
from promptseg.models.families.builtin.volume_views import CHANNELS
from promptseg.models.volume_predictor import View, ViewPrompts

SHAPE = (16, 48, 32)
POSITIVE, PREVIOUS = CHANNELS.index("positive"), CHANNELS.index("previous")
CLICK = ViewPrompts(np.array([(5, 20, 9)], np.float32), np.array([True]))
EARLIER = np.full(SHAPE, 0.8, np.float32)


class Scripted:
    """A network that tells in its logits how it was asked, and thinks of it as it is told to."""

    def __init__(self, plain: float, far: float, afresh: float) -> None:
        self.scores, self.asked = {"plain": plain, "far": far, "afresh": afresh}, []

    def __call__(self, maps):
        kinds = [self._kind(one) for one in maps]
        self.asked += kinds
        logits = np.stack(
            [np.full((1, *one.shape[1:]), len(kind), np.float32) for kind, one in zip(kinds, maps, strict=True)]
        )
        return [logits, np.array([self.scores[kind] for kind in kinds], np.float32)]

    @staticmethod
    def _kind(maps):
        if not maps[PREVIOUS].any():
            return "afresh" if maps[POSITIVE, 5, 20, 14] > 0.5 else "plain"
        return "far" if maps[POSITIVE, 5, 20, 14] > 0.6 else "plain"


@pytest.fixture
def ask(monkeypatch):
    def asked(plain, far, afresh, *views):
        script = Scripted(plain, far, afresh)
        monkeypatch.setattr(volume, "open_network", lambda *_: Network(script, "none", "scripted"))
        answers = volume.BuiltinVolumePredictor(BUILTIN_3D_ONNX).predict(views)
        kind = {len(name): name for name in script.scores}
        return [(kind[int(a.logits[0, 0, 0])], round(a.score, 3)) for a in answers], script.asked

    return asked


def correction(prompts=CLICK, previous=EARLIER):
    return View(np.random.default_rng(2).random(SHAPE).astype(np.float32), prompts, previous)


@pytest.mark.parametrize(
    ("plain", "far", "afresh", "taken"),
    [(0.5, 0.7, 0.6, "far"), (0.5, 0.6, 0.7, "afresh"), (0.5, 0.54, 0.3, "plain"), (0.5, 0.2, 0.56, "afresh")],
)
def test_a_doubted_correction_gives_way_to_a_bolder_one_that_is_clearly_better(ask, plain, far, afresh, taken):
    ((kind, score),), passes = ask(plain, far, afresh, correction())
    assert (kind, score) == (taken, {"plain": plain, "far": far, "afresh": afresh}[taken])
    assert sorted(passes) == ["afresh", "far", "plain"]


def test_what_the_network_is_sure_of_and_what_corrects_nothing_is_asked_once(ask):
    box_alone, first_click = correction(ViewPrompts()), correction(previous=None)
    assert ask(0.95, 1, 1, correction()) == ([("plain", 0.95)], ["plain"])
    kinds, passes = ask(0.3, 1, 1, box_alone, first_click)
    assert [kind for kind, _ in kinds] == passes == ["plain", "plain"]


def test_each_view_of_a_batch_gets_its_own_answer(ask):
    strokes = np.zeros(SHAPE, np.int8)
    strokes[5, 20, 9] = 1
    kinds, _ = ask(0.5, 0.8, 0.6, correction(ViewPrompts()), correction(), correction(ViewPrompts(scribble=strokes)))
    assert [kind for kind, _ in kinds] == ["plain", "far", "far"]
