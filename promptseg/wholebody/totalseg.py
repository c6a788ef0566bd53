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
import re
import threading
import zipfile
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from promptseg.errors import MissingExtraError, ModelError, PromptsegError
from promptseg.wholebody.runs import CaseRun, Rehearsal
from promptseg.wholebody.steps import Paused
from promptseg.wholebody.task import Model, Task

__all__ = ["all_tasks", "certain_weights", "download_licensed", "radiomics", "run_case"]

EXTRA = "wholebody"
ANNOUNCED = "statistics_disclaimer_shown"  # its announcement of statistics, which are not sent here
MR_REGION, CT_REGION, BODY = 852, {False: 298, True: 297}, 300  # networks that find a region (its python_api.py)
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


def certain_weights(arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of weights that a run cannot do without, from TotalSegmentator's tables alone. Costs no torch.

    A task may need more, for finding its region; what it calls is known after a rehearsal (``WholeBody.models``).
    """
    from totalsegmentator.map_tasks_config import TASK_CONFIGS, TASK_ID_WEIGHTS_CONFIGS

    config = TASK_CONFIGS.get(arguments["task"], {})
    modes = config.get("sub_modes")
    if modes:
        config = modes.get(
            "fast" if arguments.get("fast") else "fastest" if arguments.get("fastest") else "default", {}
        )
    numbers = config.get("task_id", ())
    named = list(numbers) if isinstance(numbers, list) else [numbers] if numbers else []
    if arguments.get("roi_subset"):
        region = MR_REGION if arguments["task"].endswith("_mr") else CT_REGION[bool(arguments.get("robust_crop"))]
        # which of the parts hold the classes is its own affair
        named = [region] if isinstance(numbers, list) else [region, *named]
    elif arguments.get("body_seg") and not arguments["task"].endswith("_mr"):
        named.append(BODY)
    return tuple(TASK_ID_WEIGHTS_CONFIGS[n]["foldername"] for n in named if n in TASK_ID_WEIGHTS_CONFIGS)


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


# --- networks that stay loaded ----------------------------------------------------------------------------------


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

    from promptseg.wholebody.networks import Answering

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
    folder = asked["save_probabilities_path"]
    answering = Answering(None if folder is None else Path(folder, name), asked["use_cropped_logits_resampling"])
    run.network(model, Path(asked["dir_in"]), Path(asked["dir_out"]), answering)
