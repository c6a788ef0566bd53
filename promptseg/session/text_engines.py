"""Words into masks: the hook for engines that can find an organ or a finding by its name.

An engine comes with a package that declares it, so that nothing here knows who it is::

    [project.entry-points."promptseg.text_engines"]
    wholebody = "promptseg.wholebody.text:TextResolver"     # called without arguments, gives a TextEngine
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from promptseg.engine.progress import OnProgress
from promptseg.errors import GeometryMismatchError, MissingExtraError, PromptError, PromptsegError
from promptseg.prompts import TextPrompt
from promptseg.volume import Volume

__all__ = ["TextEngine", "found_prompt", "resolve_text"]

GROUP = "promptseg.text_engines"


class TextEngine(Protocol):
    """Finds things by name.

    Contract: ``segment`` returns bool (z, y, x) of the volume's shape and changes nothing; the same volume and words
    give the same mask on the CPU. Words that it does not know are a ``PromptError`` that lists the near ones; what it
    needs and does not have (a package, weights) is a ``MissingExtraError`` or ``ModelError`` with what to do.
    ``on_progress`` may raise ``Cancelled``, which is passed on.
    """

    def segment(self, volume: Volume, text: str, *, on_progress: OnProgress | None = None) -> NDArray[np.bool_]:
        """Return the mask of what the words name."""
        ...


def resolve_text(
    prompt: TextPrompt, volume: Volume, engine: TextEngine | None = None, *, on_progress: OnProgress | None = None
) -> TextPrompt:
    """Return the prompt with its mask; one that has it already is returned as it is.

    Args:
        prompt: the words.
        volume: the image.
        engine: who finds it; None: the installed engines, one after the other.
        on_progress: passed to the engine.

    Raises:
        MissingExtraError: no engine is installed.
        PromptError: no engine knows the words, or nothing was found.
        GeometryMismatchError: the engine's mask does not fit the volume.
    """
    if prompt.mask is not None:
        return prompt
    mask = _asked([engine] if engine is not None else _installed(), prompt.text, volume, on_progress)
    if mask.shape != volume.shape:
        raise GeometryMismatchError(f"expected a mask of the volume's shape {volume.shape}, got {mask.shape}")
    return found_prompt(prompt.text, mask)


def found_prompt(text: str, mask: NDArray[np.bool_]) -> TextPrompt:
    """Return words with what an engine found for them.

    Raises:
        PromptError: it found nothing.
    """
    if not mask.any():
        raise PromptError(f"expected {text!r} in this image, but nothing of it was found; click on it instead")
    return TextPrompt(text, mask)


def _installed() -> list[TextEngine]:
    found = [entry.load()() for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name)]
    if not found:
        raise MissingExtraError("totalsegmentator", "wholebody")
    return found


def _asked(engines: list[TextEngine], text: str, volume: Volume, on_progress: OnProgress | None) -> NDArray[np.bool_]:
    """Return the first engine's answer; where all refuse, the first one's reason counts."""
    refused: list[PromptsegError] = []
    for engine in engines:
        try:
            return np.asarray(engine.segment(volume, text, on_progress=on_progress), np.bool_)
        except (PromptError, MissingExtraError) as exc:
            refused.append(exc)
    raise refused[0]
