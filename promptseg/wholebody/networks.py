"""nnU-Net's networks kept loaded, and images as it takes them."""

from __future__ import annotations

import io
import pickle
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.errors import GeometryMismatchError, ModelError, WriteError
from promptseg.volume import Volume
from promptseg.wholebody.steps import Clock, OnStep, StepProgress
from promptseg.wholebody.task import Model

__all__ = ["LPS_RAS", "NO_NIFTI_TYPE", "Answering", "Networks", "from_nifti", "load_predictor", "to_nifti"]


LPS_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


NO_NIFTI_TYPE = {"e": np.float32, "l": np.float64, "q": np.float64, "L": np.float64, "Q": np.float64, "?": np.uint8}


def to_nifti(volume: Volume) -> Any:
    """Return the volume as a nibabel image: axes (x, y, z), RAS affine, the same voxels."""
    import nibabel

    array = volume.array
    kind = NO_NIFTI_TYPE.get(array.dtype.char)
    if kind is not None:
        array = array.astype(kind)
    return nibabel.Nifti1Image(array.transpose(2, 1, 0), LPS_RAS @ volume.geometry.affine)


def from_nifti(image: Any, volume: Volume) -> NDArray[np.uint8]:
    """Return TotalSegmentator's labels as (z, y, x) on the volume's grid.

    Raises:
        GeometryMismatchError: it gave them back on another grid.
    """
    array = np.asanyarray(image.dataobj).astype(np.uint8).transpose(2, 1, 0)
    expected = LPS_RAS @ volume.geometry.affine
    if array.shape != volume.shape or not np.allclose(image.affine, expected, atol=1e-3):
        raise GeometryMismatchError(
            f"expected TotalSegmentator's labels on the image's grid {volume.geometry}, got shape {array.shape} "
            f"with the RAS affine {np.round(image.affine, 4).tolist()}"
        )
    return np.ascontiguousarray(array)


@dataclass(frozen=True)
class Answering:
    """How a network's answer becomes a file of classes.

    Attributes:
        probabilities: also write the classes' probabilities to this path with ``.npz`` behind it, and their grid with
            ``.pkl``; of an image in pieces, each piece's.
        cropped_scores: bring each class's scores back around the class alone, which takes less memory.
    """

    probabilities: Path | None = None
    cropped_scores: bool = False


PLAIN = Answering()


class Networks:
    """Loaded nnU-Net models on one device. Several threads may use it; one at a time infers.

    Args:
        device: "cpu" or "cuda:N".
        find: from a model to the folder that holds its plans.json; raises when it is missing.
    """

    def __init__(self, device: str, find: Callable[[Model], Path]) -> None:
        self.device = device
        self._find = find
        self._loaded: dict[Any, Any] = {}
        self._loading, self._busy = threading.Lock(), threading.Lock()

    def has(self, models: Iterable[Model]) -> bool:
        """True when all of them are loaded."""
        return all(model in self._loaded for model in models)

    def predictor(self, model: Model) -> Any:
        """Return the model's predictor, loaded at the first call."""
        with self._loading:
            if model not in self._loaded:
                self._loaded[model] = load_predictor(
                    self._find(model), model.folds, self.device, step_size=model.step_size, mirror=False
                )
            return self._loaded[model]

    def own_predictor(self, folder: Path) -> Any:
        """Return the predictor of a user's own model, with nnU-Net's own defaults: all folds, mirroring."""
        with self._loading:
            if folder not in self._loaded:
                self._loaded[folder] = load_predictor(folder, None, self.device, step_size=0.5, mirror=True)
            return self._loaded[folder]

    def segment(self, folder: Path, volume: Volume, clock: Clock, on_step: OnStep | None) -> NDArray[Any]:
        """Segment a volume with a user's own model; labels (z, y, x) on its grid.

        Raises:
            ModelError: the model wants files of a kind that cannot be written here.
        """
        from promptseg.io import read_labelmap, write_volume

        predictor = self.own_predictor(folder)
        ending = predictor.dataset_json["file_ending"]
        with tempfile.TemporaryDirectory(prefix="promptseg-") as name:
            source, target = Path(name, "in"), Path(name, "out")
            source.mkdir()
            target.mkdir()
            clock.start("preprocess")
            try:
                write_volume(volume, source / f"case_0000{ending}")
            except WriteError as exc:
                raise ModelError(
                    f"the model reads {ending!r} files, which cannot be made of this image: {exc}"
                ) from exc
            self.predict(predictor, source, target, clock, on_step)
            found = read_labelmap(target / f"case{ending}")
            clock.start(None)
        volume.geometry.require_same(found.geometry, "the image and nnU-Net's labels")
        return found.array

    def predict(
        self,
        predictor: Any,
        source: Path,
        target: Path,
        clock: Clock,
        on_step: OnStep | None,
        answering: Answering = PLAIN,
    ) -> None:
        """Segment every image of a folder, ``NAME_0000.nii.gz`` into ``NAME.nii.gz``, with nnU-Net's own steps."""
        import torch
        from nnunetv2.inference.export_prediction import export_prediction_from_logits as export
        from nnunetv2.utilities.utils import create_paths_fn, get_identifiers_from_splitted_dataset_folder

        plans, configuration, dataset = (
            predictor.plans_manager,
            predictor.configuration_manager,
            predictor.dataset_json,
        )
        ending = dataset["file_ending"]
        names = sorted(path.name for path in source.iterdir())
        # Not nnU-Net's create_lists_from_splitted_dataset_folder: it forks, and a process with threads may then hang.
        cases = get_identifiers_from_splitted_dataset_folder(str(source), ending)
        for case in cases:
            files = create_paths_fn(str(source), names, ending, case)
            clock.start("preprocess")
            worker = configuration.preprocessor_class(verbose=False)
            data, _, properties = worker.run_case(files, None, plans, configuration, dataset)
            tensor = torch.from_numpy(data).to(dtype=torch.float32, memory_format=torch.contiguous_format)
            clock.start("wait")
            with self._busy:
                clock.start("infer")
                with _counting(predictor, tuple(tensor.shape[1:]), on_step):
                    logits = predictor.predict_logits_from_preprocessed_data(tensor).cpu().detach().numpy()
            clock.start("resample")
            name = Path(files[0]).name[: -len(ending) - len("_0000")]
            with_scores = answering.probabilities is not None
            cropped = {"use_cropped_logits_resampling": True} if answering.cropped_scores and not with_scores else {}
            written = str(target / name)
            export(logits, properties, configuration, plans, dataset, written, with_scores, **cropped)
            if answering.probabilities is not None:
                _keep(target / name, answering.probabilities, single=len(cases) == 1)


def load_predictor(folder: Path, folds: Sequence[int] | None, device: str, *, step_size: float, mirror: bool) -> Any:
    """Load an nnU-Net model folder (plans.json, dataset.json, fold_N/checkpoint_final.pth).

    Its checkpoints are pickled Python objects: only folders that the user trusts may come here.

    Raises:
        ModelError: the folder lacks a file or nnU-Net cannot load it.
    """
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    if folds is None:
        folds = sorted(int(path.parent.name[5:]) for path in folder.glob("fold_[0-9]/checkpoint_final.pth"))
    needed = [folder / "plans.json", folder / "dataset.json"]
    needed += [folder / f"fold_{fold}" / "checkpoint_final.pth" for fold in folds or [0]]
    for path in needed:
        if not path.is_file():
            raise ModelError(f"expected an nnU-Net model in {folder}, but {path.relative_to(folder)} is missing there")
    try:
        with redirect_stdout(io.StringIO()):  # it prints what it does on a CPU
            predictor = nnUNetPredictor(
                tile_step_size=step_size,
                use_gaussian=True,
                use_mirroring=mirror,
                perform_everything_on_device=True,
                device=torch.device(device),
                allow_tqdm=False,
            )
        predictor.initialize_from_trained_model_folder(str(folder), tuple(folds), "checkpoint_final.pth")
    except (RuntimeError, KeyError, ValueError, EOFError, OSError, AttributeError, pickle.UnpicklingError) as exc:
        raise ModelError(f"nnU-Net cannot load the model in {folder}: {type(exc).__name__}: {exc}") from exc
    return predictor


def _keep(made: Path, stem: Path, *, single: bool) -> None:
    """Move the probabilities that nnU-Net wrote beside its answer to where they were asked for."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    for ending in (".npz", ".pkl"):
        name = stem.name if single else f"{stem.name}-{made.name}"
        shutil.move(f"{made}{ending}", stem.with_name(f"{name}{ending}"))


def _counting(predictor: Any, shape: tuple[int, ...], on_step: OnStep | None) -> Any:
    """Report every tile that passes through the network."""
    if on_step is None:
        return nullcontext()
    from nnunetv2.inference.sliding_window_prediction import compute_steps_for_sliding_window

    patch = tuple(predictor.configuration_manager.patch_size)
    padded = tuple(max(n, p) for n, p in zip(shape[-len(patch) :], patch, strict=True))
    tiles = int(np.prod([len(s) for s in compute_steps_for_sliding_window(padded, patch, predictor.tile_step_size)]))
    total = tiles * len(predictor.list_of_parameters) * int(np.prod(shape[: -len(patch)], initial=1))
    done = 0

    def count(*_: object) -> None:
        nonlocal done
        done = min(done + 1, total)
        on_step(StepProgress("infer", done, total))

    handle = predictor.network.register_forward_hook(count)
    return _Removing(handle)


@dataclass(frozen=True)
class _Removing:
    handle: Any

    def __enter__(self) -> None:
        """Nothing to do: the hook hangs already."""

    def __exit__(self, *_: object) -> None:
        self.handle.remove()
