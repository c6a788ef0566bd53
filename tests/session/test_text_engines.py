"""Words into masks: the hook, and what a log keeps of it."""

import json

import numpy as np
import pytest
from phantoms import X, Y, volume_of

import promptseg
from promptseg.errors import GeometryMismatchError, MissingExtraError, PromptError
from promptseg.models.families.oracle import OraclePredictor
from promptseg.prompts import prompt_from_dict, prompt_to_dict
from promptseg.session import text_engines as textual
from promptseg.session.prompt_log import PromptLog
from promptseg.session.restoring import restore
from promptseg.session.session import Session

LEFT = (Y - 35) ** 2 + (X - 25) ** 2 < 120
VOLUME = volume_of(LEFT)


class Bright:
    """Knows one word."""

    asked = 0

    def segment(self, volume, text, *, on_progress=None):
        self.asked += 1
        if text != "bright thing":
            raise PromptError(f"expected a known name, got {text!r}; did you mean 'bright thing'?")
        return volume.array > 100


@pytest.fixture
def nothing_installed(monkeypatch):
    monkeypatch.setattr(textual, "entry_points", lambda group: [])


def test_words_become_a_mask_that_can_be_corrected_and_replayed_without_the_engine(nothing_installed):
    engine = Bright()
    session = Session(VOLUME, OraclePredictor(), text_engine=engine)
    session.add(promptseg.TextPrompt("  bright   thing "))
    assert np.array_equal(session.mask(), LEFT)
    assert session.prompts[0].prompt.text == "bright thing"
    session.add(promptseg.Point(voxel=(12, 35, 25), positive=False), propagate=False)
    assert not session.mask()[12].any()
    assert engine.asked == 1
    log = json.loads(json.dumps(session.log))
    again = restore(VOLUME, PromptLog(tuple(log)), OraclePredictor())
    assert np.array_equal(again.labelmap.array, session.labelmap.array)


def test_unknown_words_and_engines_that_misbehave_change_nothing(nothing_installed, monkeypatch):
    session = Session(VOLUME, OraclePredictor(), text_engine=Bright())
    with pytest.raises(PromptError, match="did you mean"):
        session.add(promptseg.TextPrompt("brigt thing"))
    with pytest.raises(PromptError, match="on its own"):
        session.add(promptseg.TextPrompt("bright thing"), promptseg.Point(voxel=(12, 35, 25)))
    monkeypatch.setattr(Bright, "segment", lambda *args, **kwargs: np.zeros((2, 2, 2), bool))
    with pytest.raises(GeometryMismatchError, match="shape"):
        session.add(promptseg.TextPrompt("bright thing"))
    monkeypatch.setattr(Bright, "segment", lambda *args, **kwargs: np.zeros(VOLUME.shape, bool))
    with pytest.raises(PromptError, match="nothing of it was found"):
        session.add(promptseg.TextPrompt("bright thing"))
    assert session.log == ()


def test_without_an_engine_the_sentence_says_what_to_install(nothing_installed):
    with pytest.raises(MissingExtraError, match=r'pip install "promptseg\[wholebody\]"'):
        Session(VOLUME, OraclePredictor()).add(promptseg.TextPrompt("left kidney"))


def test_an_installed_engine_is_found_and_the_next_one_asked_where_it_refuses(monkeypatch):
    class Entry:
        def __init__(self, name, engine):
            self.name, self._engine = name, engine

        def load(self):
            return lambda: self._engine

    class Ignorant:
        def segment(self, volume, text, *, on_progress=None):
            raise PromptError("expected another word")

    monkeypatch.setattr(textual, "entry_points", lambda group: [Entry("b", Bright()), Entry("a", Ignorant())])
    session = Session(VOLUME, OraclePredictor())
    session.add(promptseg.TextPrompt("bright thing"))
    assert np.array_equal(session.mask(), LEFT)
    with pytest.raises(PromptError, match="another word"):
        session.add(promptseg.TextPrompt("something else"))


@pytest.mark.parametrize("mask", [None, LEFT])
def test_text_prompts_go_through_json(mask):
    prompt = promptseg.TextPrompt("left kidney", mask)
    assert prompt_from_dict(json.loads(json.dumps(prompt_to_dict(prompt)))) == prompt
    assert prompt != promptseg.TextPrompt("right kidney", mask)
    for bad in ("", "   ", 3):
        with pytest.raises(PromptError):
            promptseg.TextPrompt(bad)
