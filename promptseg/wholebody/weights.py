"""Where TotalSegmentator's weights and its own settings file lie, and what to do about missing ones.

Its folder is ``<models folder>/totalsegmentator`` (``PROMPTSEG_MODELS``). What a user of TotalSegmentator already has
is found too: ``TOTALSEG_WEIGHTS_PATH``, ``TOTALSEG_HOME_DIR`` and ``~/.totalsegmentator`` mean what they mean there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptseg.errors import ModelError
from promptseg.models.settings import model_settings
from promptseg.models.weights.trust import write_atomically

if TYPE_CHECKING:
    from promptseg.wholebody.task import Model

__all__ = [
    "ensure_home",
    "find_model",
    "licence_number",
    "pull_name",
    "remember_licence",
    "require_models",
    "require_names",
    "weights_folder",
]

HOME_VARIABLE, WEIGHTS_VARIABLE = "TOTALSEG_HOME_DIR", "TOTALSEG_WEIGHTS_PATH"  # TotalSegmentator's own
INNER = Path("nnunet/results")
LICENCE_LENGTH = 18  # characters; TotalSegmentator's own offline check (config.has_valid_license_offline)
SILENT = {  # its config.json, written before it would write its own: no statistics are sent, nothing is announced
    "totalseg_id": "promptseg",
    "send_usage_stats": False,
    "statistics_disclaimer_shown": True,
    "prediction_counter": 0,
}


def home_folder() -> Path:
    """TotalSegmentator's own folder: its ``config.json`` and, under ``nnunet/results``, weights."""
    named = os.environ.get(HOME_VARIABLE)
    return Path(named).expanduser() if named else model_settings().models_dir / "totalsegmentator"


def weights_folder() -> Path:
    """The folder that new weights go to."""
    named = os.environ.get(WEIGHTS_VARIABLE)
    return Path(named).expanduser() if named else home_folder() / INNER


def ensure_home() -> None:
    """Write TotalSegmentator's settings file, silent, where there is none; tell TotalSegmentator where it is.

    Raises:
        ModelError: the folder cannot be written.
    """
    home = home_folder()
    if not (home / "config.json").is_file():
        _write_config(home, SILENT)
    os.environ.setdefault(HOME_VARIABLE, str(home))


def _write_config(home: Path, content: Mapping[str, Any]) -> None:
    try:
        write_atomically(home / "config.json", json.dumps(content, indent=4) + "\n")
    except OSError as exc:
        raise ModelError(
            f"cannot write TotalSegmentator's settings file in {home}: {exc.strerror}; "
            "name a writable folder with PROMPTSEG_MODELS"
        ) from exc


def _read_config(home: Path) -> dict[str, Any]:
    try:
        found = json.loads((home / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return dict(SILENT)
    except (OSError, ValueError) as exc:
        raise ModelError(f"TotalSegmentator's settings file in {home} cannot be read ({exc}); delete it") from exc
    return found if isinstance(found, dict) else dict(SILENT)


def licence_number() -> str:
    """The user's licence number; "" when none was given yet."""
    return str(_read_config(home_folder()).get("license_number", ""))


def remember_licence(number: str) -> None:
    """Keep the user's licence number where TotalSegmentator keeps it. It is sent to its server only by a download.

    Raises:
        ModelError: it cannot be one.
    """
    number = number.strip()
    if len(number) != LICENCE_LENGTH:
        raise ModelError(
            f"expected a licence number of {LICENCE_LENGTH} characters (like aca_XXXXXXXXXXXXXX), got {len(number)}"
        )
    home = home_folder()
    _write_config(home, {**_read_config(home), "license_number": number})


def _searched() -> tuple[Path, ...]:
    return tuple(dict.fromkeys((weights_folder(), home_folder() / INNER, Path.home() / ".totalsegmentator" / INNER)))


def _is_model(folder: Path) -> bool:
    return (folder / "plans.json").is_file() and any(folder.glob("fold_*/checkpoint_final.pth"))


def find_model(model: Model) -> Path:
    """Return the folder that holds the model's ``plans.json``.

    Raises:
        ModelError: it is in none of the folders.
    """
    for weights in _searched():
        folder = weights / model.name / model.folder
        if _is_model(folder):
            return folder
    raise ModelError(f"the weights {model.name} are not on this machine: expected {weights_folder() / model.name}")


def require_names(names: Iterable[str], task: str, options: Mapping[str, Any]) -> None:
    """Check that weights of these names are here, in any trainer's folder.

    Raises:
        ModelError: as ``require_models``.
    """
    _refuse_missing([name for name in names if not _is_here(name)], task, options)


def _is_here(name: str) -> bool:
    return any(_is_model(folder) for weights in _searched() for folder in (weights / name).glob("*"))


def require_models(models: Iterable[Model], task: str, options: Mapping[str, Any]) -> None:
    """Check that all weights are here.

    Raises:
        ModelError: some are not; the message says which, where they belong and how to get them.
    """
    missing = []
    for model in models:
        try:
            find_model(model)
        except ModelError:
            missing.append(model.name)
    _refuse_missing(missing, task, options)


def _refuse_missing(missing: list[str], task: str, options: Mapping[str, Any]) -> None:
    if missing:
        raise ModelError(
            f"the weights of the whole-body task {task!r} are not on this machine: expected {', '.join(missing)} in "
            f"{weights_folder()}; with a network run: promptseg models pull {pull_name(task, options)}; without one "
            "copy these folders there from another machine"
        )


def pull_name(task: str, options: Mapping[str, Any]) -> str:
    """Return what ``promptseg models pull`` calls a task's weights: "totalsegmentator:total_fast"."""
    speed = "_fast" if options.get("fast") else "_fastest" if options.get("fastest") else ""
    subset = "+subset" if options.get("roi_subset") else ""
    return f"totalsegmentator:{task}{speed}{subset}"
