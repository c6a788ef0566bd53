"""What can be done to a session, wherever it lives: the verbs that one here and one on a server have alike.

``tests/session/test_verbs_contract.py`` holds every kind of session to them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from promptseg.engine.progress import OnProgress
from promptseg.prompts import Plane, Prompt
from promptseg.volume.geometry import Geometry
from promptseg.volume.label_voxels import Changed
from promptseg.volume.labelmap import Label, Labelmap

if TYPE_CHECKING:
    from promptseg.engine.checks import Carried
    from promptseg.engine.edits import Edit

__all__ = ["KeptPrompt", "PromptVerbs", "SessionVerbs", "SliceReview"]


class KeptPrompt(NamedTuple):
    """A prompt in force: its ``id`` (1 ... , stable while the session lives), the label's value, and the prompt."""

    id: int
    label: int
    prompt: Prompt


@dataclass(frozen=True)
class SliceReview:
    """A slice to look at.

    Attributes:
        plane: the plane that was walked in.
        index: slice index.
        confidence: 0 ... 1.
        reason: why the walk ended here, or "".
        measured: what was measured there; None where the mask was not walked.
    """

    plane: Plane
    index: int
    confidence: float
    reason: str
    measured: Carried | None = None


class PromptVerbs(Protocol):
    """A mask that grows from prompts.

    Contract: a verb that returns a box returns the half-open voxel box ((z0, y0, x0), (z1, y1, x1)) that it changed,
    None when nothing changed. A verb that raises has changed nothing. ``on_progress`` may be called with a ``Progress``
    now and then; ``Cancelled`` raised in it stops the verb, and the session stays as it was.
    """

    @property
    def can_undo(self) -> bool:
        """True when there is a step to undo."""
        ...

    def add(
        self, *prompts: Prompt, propagate: bool = True, predict: bool = True, on_progress: OnProgress | None = None
    ) -> Changed | None:
        """Add prompts as one step and bring the mask up to date; see ``Session.add``."""
        ...

    def propagate(
        self, label: int | str | None = None, *, afresh: bool = False, on_progress: OnProgress | None = None
    ) -> Changed | None:
        """Answer what waits, and carry it on to the rest of the volume; ``afresh``: from the prompts alone."""
        ...

    def is_pending(self, label: int | str | None = None) -> bool:
        """True when ``propagate`` has something to do."""
        ...

    def mask(self, label: int | str | None = None) -> NDArray[np.bool_]:
        """Return bool (z, y, x)."""
        ...

    def undo(self) -> Changed | None:
        """Take the last step back."""
        ...


class SessionVerbs(PromptVerbs, Protocol):
    """One person's work on one image. A label is named by its value or its name; None is the selected one.

    Contract: every verb that changes something is one entry of ``log`` and one step of ``undo``. What does not fit the
    image or the labels is a ``PromptError`` or ``GeometryMismatchError`` that says what was expected. Each verb is
    described at ``promptseg.session.session.Session``.
    """

    @property
    def model_id(self) -> str:
        """The model's id."""
        ...

    @property
    def geometry(self) -> Geometry:
        """The image's frame."""
        ...

    @property
    def labels(self) -> Mapping[int, Label]:
        """All labels by value."""
        ...

    @property
    def locked(self) -> frozenset[int]:
        """Values of the protected labels."""
        ...

    @property
    def overlap(self) -> str:
        """What happens where a label's new voxels belong to another label: keep, overwrite, visible or allow."""
        ...

    @property
    def selected(self) -> int:
        """The label that prompts go to; 0 before the first one exists."""
        ...

    @property
    def prompts(self) -> tuple[KeptPrompt, ...]:
        """The prompts in force, oldest first."""
        ...

    @property
    def labelmap(self) -> Labelmap:
        """A copy of all labels on the image's grid."""
        ...

    @property
    def log(self) -> tuple[dict[str, Any], ...]:
        """The entries that made the present state, oldest first."""
        ...

    @property
    def can_redo(self) -> bool:
        """True when there is a step to redo."""
        ...

    def review(self, label: int | str | None = None) -> tuple[SliceReview, ...]:
        """Return what the walks measured on the label's slices, least confident first."""
        ...

    def confidence(self, label: int | str | None = None, plane: Plane | str = Plane.AXIAL) -> NDArray[np.float32]:
        """Return (n slices,) of the plane: 0 ... 1, NaN where nothing is known."""
        ...

    def probabilities(self, label: int | str | None = None) -> NDArray[np.float32]:
        """Return float32 (z, y, x): how probably each voxel is the label's, as a 3D network answered last."""
        ...

    def new_label(self, name: str | None = None) -> int:
        """Add a label, select it and return its value."""
        ...

    def select(self, label: int | str) -> int:
        """Make a label the one that prompts go to; return its value."""
        ...

    def rename(self, label: int | str, name: str) -> None:
        """Give a label another name."""
        ...

    def recolour(self, label: int | str, color: Sequence[int]) -> None:
        """Give a label another sRGB colour: three of 0 ... 255."""
        ...

    def lock(self, label: int | str, locked: bool = True) -> None:
        """Protect a label, or free it."""
        ...

    def set_overlap(self, rule: str, spared: Sequence[int | str] = ()) -> None:
        """Say what happens from now on where a label's new voxels belong to another one."""
        ...

    def delete_label(self, label: int | str) -> Changed | None:
        """Remove a label with its voxels and prompts."""
        ...

    def merge_labels(self, label: int | str, into: int | str) -> Changed | None:
        """Give all voxels and prompts of one label to another, and remove it."""
        ...

    def import_labels(self, labelmap: Labelmap, only: Sequence[str] = ()) -> tuple[int, ...]:
        """Add a label for every label of a labelmap that has voxels; return the new values."""
        ...

    def remove_prompt(self, prompt_id: int, *, on_progress: OnProgress | None = None) -> Changed | None:
        """Take a prompt back, however long ago it was added."""
        ...

    def replace_prompt(
        self, prompt_id: int, prompt: Prompt, *, on_progress: OnProgress | None = None
    ) -> Changed | None:
        """Put another prompt in a prompt's place."""
        ...

    def accept(self, index: int, plane: Plane | str = Plane.AXIAL) -> None:
        """Make a slice of the selected label an anchor as it is."""
        ...

    def edit(self, edit: Edit) -> Changed | None:
        """Apply an edit by hand to the selected label."""
        ...

    def redo(self) -> Changed | None:
        """Bring back the step that was undone last."""
        ...

    def save(self, path: str | Path) -> tuple[Path, ...]:
        """Write all labels to a file, format by extension; return every file written."""
        ...

    def export_prompts(self, path: str | Path) -> Path:
        """Write the prompt log as JSON."""
        ...
