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
BESIDE = (POSITIVE, 5, 20, 14)  # five voxels from the click: exp(-1) of the network's own reach
EARLIER = np.full(SHAPE, 0.8, np.float32)
LOGITS = {"plain": 1.0, "far": 2.0, "afresh": 3.0}


class Scripted:
    """A network that tells in its logits how it was asked, and thinks of it as it is told to.

    Asked plainly it finds the object on the first slices only; asked with one of its own answers as the earlier one, it
    says that one, and a half.
    """

    def __init__(self, scores: dict[str, float], slices: int = SHAPE[0]) -> None:
        self.scores, self.slices, self.asked = scores, slices, []

    def __call__(self, maps):
        logits, scores = zip(*(self._answer(one) for one in maps), strict=True)
        filled = [np.full((1, *SHAPE), value, np.float32) for value in logits]
        for one in filled:
            one[:, self.slices if one.max() == LOGITS["plain"] else SHAPE[0] :] = -1
        return [np.stack(filled), np.array(scores, np.float32)]

    def _answer(self, maps):
        earlier, reaches_far = float(maps[PREVIOUS, 0, 0, 0]), bool(maps[BESIDE] > 0.5)
        if earlier in (0.0, pytest.approx(0.6)):
            kind = "plain" if not reaches_far else "far" if earlier else "afresh"
            self.asked.append(kind)
            return LOGITS[kind], self.scores[kind]
        assert not reaches_far
        self.asked.append("again")
        return np.log((1 + earlier) / (1 - earlier)) + 0.5, 0.97


@pytest.fixture
def ask(monkeypatch):
    """Ask views of a scripted network; return by view (logit, score), and how it was asked."""

    def asked(plain, far, afresh, *views, slices=SHAPE[0]):
        script = Scripted({"plain": plain, "far": far, "afresh": afresh}, slices)
        monkeypatch.setattr(volume, "open_network", lambda *_: Network(script, "none", "scripted"))
        answers = volume.BuiltinVolumePredictor(BUILTIN_3D_ONNX).predict(views)
        return [(pytest.approx(a.logits[2, 3, 4], abs=1e-3), pytest.approx(a.score)) for a in answers], script.asked

    return asked


def correction(prompts=CLICK, previous=EARLIER):
    return View(np.random.default_rng(2).random(SHAPE).astype(np.float32), prompts, previous)


@pytest.mark.parametrize(("far", "afresh", "taken"), [(0.7, 0.6, "far"), (0.6, 0.7, "afresh"), (0.2, 0.61, "afresh")])
def test_where_bolder_is_clearly_better_the_network_goes_on_from_there(ask, far, afresh, taken):
    answers, passes = ask(0.5, far, afresh, correction())
    assert answers == [(LOGITS[taken] + 0.5, 0.97)]
    assert passes == ["plain", "far", "afresh", "again"]


@pytest.mark.parametrize(("slices", "taken"), [(6, True), (5, False)])
def test_what_is_more_than_three_times_as_large_is_another_thing(ask, slices, taken):
    answers, passes = ask(0.5, 0.7, 0.8, correction(), slices=slices)
    assert answers == ([(LOGITS["afresh"] + 0.5, 0.97)] if taken else [(LOGITS["plain"], 0.5)])
    assert (passes[-1] == "again") == taken


def test_where_it_is_hardly_better_the_first_answer_stands(ask):
    assert ask(0.5, 0.59, 0.3, correction()) == ([(LOGITS["plain"], 0.5)], ["plain", "far", "afresh"])


def test_what_the_network_is_sure_of_and_what_corrects_nothing_is_asked_once(ask):
    assert ask(0.8, 1, 1, correction()) == ([(LOGITS["plain"], 0.8)], ["plain"])
    box_alone, first_click = correction(ViewPrompts()), correction(previous=None)
    assert ask(0.3, 1, 1, box_alone, first_click) == ([(LOGITS["plain"], 0.3)] * 2, ["plain"] * 2)


def test_each_view_of_a_batch_gets_its_own_answer(ask):
    strokes = np.zeros(SHAPE, np.int8)
    strokes[5, 20, 9] = 1
    answers, _ = ask(0.5, 0.8, 0.6, correction(ViewPrompts()), correction(), correction(ViewPrompts(scribble=strokes)))
    assert answers == [(LOGITS["plain"], 0.5), (LOGITS["far"] + 0.5, 0.97), (LOGITS["far"] + 0.5, 0.97)]
