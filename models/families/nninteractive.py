"""nnInteractive (Isensee et al. 2025): whole volumes in 3D, through its authors' own package and weights.

It is not a slice predictor: one object of one volume is worked on in a session, and every hint changes the mask in
place. Its weights forbid commercial use; they are used only after the user has accepted that, and only from a folder
of the user's (``<models folder>/nninteractive/``, as the package's own download command writes it). Its checkpoints are
pickles that may run code when they are loaded: a checkpoint is pinned at its first use, and refused once it differs.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.errors import DeviceError, MissingExtraError, ModelError, PromptError
from promptseg.models.runtime import torch_cuda_count
from promptseg.models.weights.digests import digest_file
from promptseg.models.weights.registry import ModelCard
from promptseg.models.weights.store import FIRST_USE, Store

__all__ = ["NnInteractiveVolume", "find_weights", "open_volume"]

BoolArray = NDArray[np.bool_]
Box = tuple[int, int, int, int, int, int]
CHECKPOINT = "checkpoint_final.pth"


def open_volume(
    voxels: NDArray[np.float32],
    card: ModelCard,
    store: Store,
    *,
    device: str = "auto",
    trust_on_first_use: bool = False,
) -> NnInteractiveVolume:
    """Start work on one object of a volume.

    Args:
        voxels: (z, y, x), intensities as they are in the file; the package normalises them itself.
        card: the registry's row.
        store: whose folder holds the weights and the acceptance of their licence.
        device: auto, cuda, cuda:N, or cpu (minutes per hint).
        trust_on_first_use: pin the checkpoint that is there now.

    Raises:
        ModelError: the licence was not accepted, no weights are here, or they are not pinned or have changed.
        MissingExtraError: the package is not installed.
        DeviceError: the GPU asked for is not here.
    """
    if not (card.commercial_use or store.trust.has_accepted(card.id, card.licence)):
        raise ModelError(
            f"the licence of model {card.id!r} ({card.licence}) restricts its use: read it at {card.source}, "
            f"then run: promptseg models pull {card.id} --accept-licence"
        )
    session_class = _session_class()
    folder = find_weights(store.folder(card.id))
    _check_pin(card, store, next(folder.glob(f"fold_*/{CHECKPOINT}")), trust_on_first_use)
    with contextlib.redirect_stdout(io.StringIO()):  # the package prints its licence; here it was accepted
        session = session_class(device=_device(device))
        session.initialize_from_trained_model_folder(str(folder))
    return NnInteractiveVolume(session, voxels)


def find_weights(folder: Path) -> Path:
    """Return the folder with plans.json and one fold, in or one below ``folder``.

    Raises:
        ModelError: there is none, or more than one.
    """
    found = [f for f in (folder, *sorted(folder.glob("*"))) if (f / "plans.json").is_file()]
    found = [f for f in found if len(list(f.glob(f"fold_*/{CHECKPOINT}"))) == 1]
    if len(found) != 1:
        raise ModelError(
            f"expected one model of nnInteractive in {folder} (plans.json and fold_*/{CHECKPOINT}), "
            f"found {len(found)}; fetch it with the package's own command and copy its folder there"
        )
    return found[0]


def _session_class() -> Callable[..., Any]:
    try:
        from nnInteractive.inference.inference_session import nnInteractiveInferenceSession
    except ImportError as exc:
        raise MissingExtraError("nninteractive", "nninteractive") from exc
    made: Callable[..., Any] = nnInteractiveInferenceSession
    return made


def _device(requested: str) -> Any:
    import torch

    count = torch_cuda_count()
    if requested == "auto":
        requested = "cuda" if count else "cpu"
    index = int(requested.partition(":")[2] or 0)
    if requested != "cpu" and index >= count:
        raise DeviceError(f"expected a CUDA device number {index}, torch sees {count}; or use device='cpu'")
    return torch.device(requested)


def _check_pin(card: ModelCard, store: Store, checkpoint: Path, trust_on_first_use: bool) -> None:
    name = checkpoint.relative_to(store.folder(card.id)).as_posix()
    if store.trust.is_unchanged(card.id, name, checkpoint):
        return
    pin, sha256 = store.trust.pinned(card.id, name), digest_file(checkpoint)["sha256"]
    if pin is None and not trust_on_first_use:
        raise ModelError(
            f"{checkpoint} was never checked, nobody published its hash, and loading it can run code; "
            f"where you trust it, open it once with {FIRST_USE.replace('-', '_')}=True"
        )
    if pin is not None and pin.sha256 != sha256:
        raise ModelError(
            f"{checkpoint} has changed: expected sha256 {pin.sha256} as pinned on {pin.date}, got {sha256}"
        )
    store.trust.pin(card.id, name, checkpoint, sha256, FIRST_USE)


class NnInteractiveVolume:
    """One object of one volume.

    Args:
        session: an initialised ``nnInteractiveInferenceSession``.
        voxels: (z, y, x).
    """

    def __init__(self, session: Any, voxels: NDArray[np.float32]) -> None:
        if voxels.ndim != 3:
            raise PromptError(f"expected a volume (z, y, x), got the shape {voxels.shape}")
        self._session = session
        self._target = np.zeros(voxels.shape, np.uint8)
        session.set_image(np.ascontiguousarray(voxels, np.float32)[None])
        session.set_target_buffer(self._target)

    @property
    def mask(self) -> BoolArray:
        """bool (z, y, x): the object as it stands; a copy."""
        return self._target > 0

    def add_point(self, voxel: tuple[float, float, float], positive: bool = True) -> Box | None:
        """Add a click at (z, y, x); returns the half-open box (z0, y0, x0, z1, y1, x1) that changed, or None."""
        self._inside([(round(v), round(v) + 1) for v in voxel])
        return _box(self._session.add_point_interaction(tuple(voxel), positive))

    def add_box(self, box: Box, positive: bool = True) -> Box | None:
        """Add a half-open box (z0, y0, x0, z1, y1, x1), one voxel thick along one axis; returns as ``add_point``."""
        sides = list(zip(box[:3], box[3:], strict=True))
        self._inside(sides)
        if 1 not in [b - a for a, b in sides]:
            raise PromptError(f"expected a box one voxel thick along one axis, got {box}")
        return _box(self._session.add_bbox_interaction([list(side) for side in sides], positive))

    def add_scribble(self, drawn: BoolArray, positive: bool = True) -> Box | None:
        """Add what was painted, bool (z, y, x); returns as ``add_point``."""
        return _box(self._session.add_scribble_interaction(self._painted(drawn), positive))

    def add_lasso(self, outlined: BoolArray, positive: bool = True) -> Box | None:
        """Add a filled outline, bool (z, y, x); returns as ``add_point``."""
        return _box(self._session.add_lasso_interaction(self._painted(outlined), positive))

    def start_from(self, mask: BoolArray) -> None:
        """Begin anew with a mask, bool (z, y, x), that is to be corrected."""
        self._session.add_initial_seg_interaction(self._painted(mask))

    def reset(self) -> None:
        """Forget all hints and the mask."""
        self._session.reset_interactions()
        self._target[:] = 0

    def _inside(self, sides: list[tuple[int, int]]) -> None:
        if not all(0 <= a < b <= self._target.shape[axis] for axis, (a, b) in enumerate(sides)):
            raise PromptError(f"expected a hint inside the volume {self._target.shape}, got {sides}")

    def _painted(self, drawn: BoolArray) -> NDArray[np.uint8]:
        if drawn.shape != self._target.shape or not drawn.any():
            raise PromptError(f"expected some voxels painted in {self._target.shape}, got {drawn.shape}")
        return drawn.astype(np.uint8)


def _box(changed: Any) -> Box | None:
    if changed is None:
        return None
    low, high = zip(*((int(a), int(b)) for a, b in changed), strict=True)
    return (*low, *high)
