"""The only file that touches TotalSegmentator and nnU-Net.

TotalSegmentator's own function runs every case, so cropping, cascades, post-processing and label maps are its own.
A few of its module's names are replaced once (``_install_taps``), and each replacement does something else only in a
thread that is running one of our cases:

- its call of nnU-Net goes to networks that stay loaded, in this process, instead of child processes per case;
- its resampling can be answered from a tape, so that one case can be split into steps for several processes;
- its downloader says which weights are missing instead of opening a connection;
- its usage statistics are never sent.

Arrays and affines of this package are (x, y, z) and RAS; ``to_nifti`` and ``from_nifti`` are the only doors.
"""

from __future__ import annotations

import inspect
import io
import pickle
import re
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext, redirect_stdout, suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.errors import GeometryMismatchError, MissingExtraError, ModelError, PromptsegError, WriteError
from promptseg.volume import Volume
from promptseg.wholebody.runs import CaseRun, Rehearsal
from promptseg.wholebody.steps import Clock, OnStep, Paused, StepProgress
from promptseg.wholebody.tasks import Model, Task

__all__ = [
    "Networks",
    "all_tasks",
    "download_licensed",
    "from_nifti",
    "load_predictor",
    "radiomics",
    "run_case",
    "to_nifti",
]

EXTRA = "wholebody"
ANNOUNCED = "statistics_disclaimer_shown"  # its announcement of statistics, which are not sent here
LPS_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
NO_NIFTI_TYPE = {"e": np.float32, "l": np.float64, "q": np.float64, "L": np.float64, "Q": np.float64, "?": np.uint8}
_ACTIVE = threading.local()  # .run is the case of this thread
_TAPS_LOCK = threading.Lock()


# --- what TotalSegmentator can do -------------------------------------------------------------------------------


@cache
def all_tasks() -> dict[str, Task]:
    """Return every task that can be run, in TotalSegmentator's order. Costs no torch.

    Raises:
        MissingExtraError: TotalSegmentator is not installed.
    """
    if find_spec("totalsegmentator") is None:
        raise MissingExtraError("TotalSegmentator", EXTRA)
    from totalsegmentator import registry
    from totalsegmentator.map_tasks_config import TASK_CONFIGS

    found = {}
    for name in registry.TASKS:
        modes = TASK_CONFIGS.get(name, {}).get("sub_modes", {})
        with suppress(KeyError):  # a name without classes cannot be run
            found[name] = Task(
                name,
                registry.task_modality(name),
                registry.requires_license(name),
                registry.get_task_classes(name),
                "fast" in modes,
                "fastest" in modes,
            )
    return found


@cache
def _release_address() -> str:
    """TotalSegmentator's release folder, read from the code that downloads from it."""
    from totalsegmentator import libs

    found = re.search(r'url = "(https://github\.com/[^"]+)"', inspect.getsource(libs.download_pretrained_weights))
    if found is None:
        raise ModelError("expected TotalSegmentator's download address in its own code, found none in this version")
    return found.group(1)


def download_licensed(model: Model, target: Path) -> None:
    """Fetch weights from TotalSegmentator's licence server with its own code: unverified, not resumed.

    Raises:
        ModelError: nobody publishes these weights, no network, or the server refused the licence number.
    """
    import requests
    from totalsegmentator import libs
    from totalsegmentator.map_to_binary import commercial_models

    names = {number: task for task, number in commercial_models.items()}
    if model.dataset_id not in names:
        raise ModelError(f"TotalSegmentator publishes no weights {model.name}")
    try:
        libs.download_model_with_license_and_unpack(names[model.dataset_id], target)
    except (requests.RequestException, OSError, zipfile.BadZipFile) as exc:
        raise ModelError(f"cannot fetch {model.name} from TotalSegmentator's licence server: {exc}") from exc
    except SystemExit as exc:
        raise ModelError("TotalSegmentator's licence server did not accept the licence number") from exc


def radiomics(image: Path, masks: Path, target: Path) -> None:
    """Write TotalSegmentator's radiomics features of every mask of a folder (needs pyradiomics)."""
    from totalsegmentator.statistics import get_radiomics_features_for_entire_dir

    get_radiomics_features_for_entire_dir(image, masks, target)


# --- the doors between the two conventions ----------------------------------------------------------------------


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


# --- networks that stay loaded ----------------------------------------------------------------------------------


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

    def predict(self, predictor: Any, source: Path, target: Path, clock: Clock, on_step: OnStep | None) -> None:
        """Segment every image of a folder, ``NAME_0000.nii.gz`` into ``NAME.nii.gz``, with nnU-Net's own steps."""
        import torch
        from nnunetv2.inference.export_prediction import export_prediction_from_logits
        from nnunetv2.utilities.utils import create_paths_fn, get_identifiers_from_splitted_dataset_folder

        plans, configuration, dataset = (
            predictor.plans_manager,
            predictor.configuration_manager,
            predictor.dataset_json,
        )
        ending = dataset["file_ending"]
        names = sorted(path.name for path in source.iterdir())
        # Not nnU-Net's create_lists_from_splitted_dataset_folder: it forks, and a process with threads may then hang.
        for case in get_identifiers_from_splitted_dataset_folder(str(source), ending):
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
            export_prediction_from_logits(logits, properties, configuration, plans, dataset, str(target / name), False)


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


# --- one case ---------------------------------------------------------------------------------------------------


def run_case(run: CaseRun | Rehearsal, image: Any, arguments: Mapping[str, Any]) -> tuple[Any, Any]:
    """Run TotalSegmentator on a nibabel image; return its label image and statistics (None unless asked for).

    Raises:
        Paused: the run came to the step where it was to stop.
        ModelError: TotalSegmentator refused the arguments or broke.
    """
    from promptseg.wholebody.weights import ensure_home

    ensure_home()  # before TotalSegmentator would make a settings file of its own, which sends statistics
    from totalsegmentator.python_api import totalsegmentator

    _install_taps()
    _ACTIVE.run = run
    try:
        # the device is the networks' business; "gpu" here would only move resampling to a library that may be absent
        answer = totalsegmentator(image, None, ml=True, quiet=True, device="cpu", **arguments)
    except SystemExit as exc:
        raise ModelError("TotalSegmentator ended the run; see its message above") from exc
    except (Paused, PromptsegError, MemoryError):
        raise
    except Exception as exc:
        raise ModelError(f"the task {arguments['task']!r} broke off in TotalSegmentator: {exc!r}") from exc
    finally:
        _ACTIVE.run = None
    return answer if isinstance(answer, tuple) else (answer, None)


def _install_taps() -> None:
    """Replace TotalSegmentator's names once; outside our cases each replacement calls what it replaces."""
    with _TAPS_LOCK:
        from totalsegmentator import nnunet, python_api

        if getattr(python_api, "_promptseg_taps", False):
            return
        idle = ("download_pretrained_weights", "send_usage_stats", "increase_prediction_counter", "show_license_info")
        taps: tuple[tuple[Any, str, Callable[..., Any]], ...] = (
            *((python_api, name, lambda run, original, *a, **k: None) for name in idle),
            (python_api, "get_config_key", lambda run, original, key: key == ANNOUNCED or original(key)),
            (python_api, "convert_device_to_string", lambda run, original, *a, **k: "cpu"),  # None for "cpu" in 2.18
            (nnunet, "nostdout", lambda run, original, *a, **k: nullcontext()),  # it swaps the process's sys.stdout
            (nnunet, "change_spacing", lambda run, original, *a, **k: run.resample(lambda: original(*a, **k))),
            (nnunet, "nnUNetv2_predict", _network),
        )
        for module, name, tap in taps:
            if not callable(getattr(module, name, None)):
                raise ModelError(
                    f"expected {module.__name__}.{name} in TotalSegmentator, found none: this version is not "
                    'supported; install one that is: pip install "promptseg[wholebody]"'
                )
            setattr(module, name, _tapped(getattr(module, name), tap))
        python_api._promptseg_taps = True


def _tapped(original: Callable[..., Any], tap: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        run = getattr(_ACTIVE, "run", None)
        return original(*args, **kwargs) if run is None else tap(run, original, *args, **kwargs)

    return call


def _network(run: CaseRun | Rehearsal, original: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    given = inspect.signature(original).bind(*args, **kwargs)
    given.apply_defaults()
    asked = given.arguments
    from totalsegmentator.map_tasks_config import TASK_ID_WEIGHTS_CONFIGS

    published = TASK_ID_WEIGHTS_CONFIGS[asked["task_id"]]
    name, release = published["foldername"], published.get("version")
    model = Model(
        dataset_id=asked["task_id"],
        name=name,
        url="" if release in (None, "TODO") else f"{_release_address()}/{release}/{name}.zip",
        folder=f"{asked['trainer']}__{asked['plans']}__{asked['model']}",
        folds=None if asked["folds"] is None else tuple(asked["folds"]),
        step_size=asked["step_size"],
    )
    run.network(model, Path(asked["dir_in"]), Path(asked["dir_out"]))
